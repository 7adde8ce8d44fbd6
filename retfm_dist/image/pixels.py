"""Pixels between numpy and Pillow without copies of whole photographs.

Pillow keeps a color pixel in four bytes, so it can look at arrays of four channels in place. A
9-megapixel photograph is 36 MB, and each copy costs a tenth of its packing.
"""

import numpy as np
import pyarrow as pa
from PIL import Image


def four_channels(pixels: np.ndarray) -> np.ndarray:
    """Return [H, W, 4] pixels whose first three channels are the given ones.

    Args:
        pixels: uint8 [H, W, 3]; not copied where it is a view of four channels.
    """
    base = pixels.base
    if isinstance(base, np.ndarray) and (base.shape, base.strides) == (
        (*pixels.shape[:2], 4),
        pixels.strides,
    ):
        return base
    wide = np.zeros((*pixels.shape[:2], 4), np.uint8)
    wide[..., :3] = pixels
    return wide


def brightest(pixels: np.ndarray) -> np.ndarray:
    """Return the largest of the three channels of pixels [..., 3]."""
    # max(axis=-1) takes ten times as long.
    return np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def darkest(pixels: np.ndarray) -> np.ndarray:
    """Return the smallest of the three channels of pixels [..., 3]."""
    return np.minimum(np.minimum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def as_image(wide: np.ndarray) -> Image.Image:
    """Return an RGB image that looks at the array.

    Args:
        wide: uint8 [H, W, 4], contiguous; the fourth channel has no meaning.
    """
    height, width = wide.shape[:2]
    # Arrow's layout of an RGB image is Pillow's own, so nothing is copied.
    flat = pa.Array.from_buffers(pa.uint8(), wide.size, [None, pa.py_buffer(wide)])
    pixels = pa.FixedSizeListArray.from_arrays(flat, 4)
    return Image.fromarrow(pixels, "RGB", (width, height))
