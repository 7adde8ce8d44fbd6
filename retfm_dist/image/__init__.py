"""Photographs: read them, find and crop the field of view, shrink, encode, fingerprint.

Images are `PIL.Image.Image` in mode RGB between the steps. Messages of this package never name a
file, because file names can hold patient numbers; callers add what may be shown.
"""
