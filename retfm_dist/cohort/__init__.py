"""Archive tables read into records, pseudonyms for their patients, composition tables.

This is the only package that sees a hospital's patient numbers and file names; what leaves it
towards a shard set carries pseudonyms.
"""
