"""Write baseline JPEG without metadata, and fingerprint what an image shows."""

import io

import numpy as np
from PIL import Image

_HASH_SIDE = 16


def encode_jpeg(image: Image.Image, *, quality: int) -> bytes:
    """Encode as baseline JPEG, 4:2:0, without EXIF, ICC profile or comment.

    Args:
        image: RGB image.
        quality: libjpeg quality, 1 to 100.
    """
    bare = Image.fromarray(np.asarray(image))  # carries pixels only
    buffer = io.BytesIO()
    # Hardware decoders take baseline JPEG with 4:2:0.
    bare.save(
        buffer, "JPEG", quality=quality, subsampling="4:2:0", progressive=False, optimize=False
    )
    return buffer.getvalue()


def difference_hash(image: Image.Image) -> str:
    """Return a 256-bit perceptual hash as 64 hex digits.

    Bit (row, column) says whether brightness rises from one column to the next in a 16 x 17
    miniature, so images that look alike differ in few bits, whatever their size and quality.

    Source: the difference hash of Krawetz, "Kind of Like That", hackerfactor.com, 2013.
    """
    miniature = image.convert("L").resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX)
    values = np.asarray(miniature, dtype=np.int16)
    return np.packbits(values[:, 1:] > values[:, :-1]).tobytes().hex()


def miniature(image: Image.Image) -> bytes:
    """Return the image as 16 x 16 gray pixels, row by row: enough to confirm that two are alike."""
    side = _HASH_SIDE
    small = image.convert("L").resize((side, side), Image.Resampling.BOX, reducing_gap=2.0)
    return small.tobytes()
