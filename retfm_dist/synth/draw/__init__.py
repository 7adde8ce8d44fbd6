"""Rendering of a synthetic eye, from the background of the retina to the camera.

`eye` draws a whole picture out of `background`, `disc`, `vessels`, `lesions` and `camera`;
`field`, `stamp` and `upsample` are the operations on pixels that these share.
"""
