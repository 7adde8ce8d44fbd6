"""Decode JPEG strictly: what the decoder only warns of, and what it cannot notice, is an error."""

import numpy as np
import simplejpeg
from PIL import JpegImagePlugin

from retfm_dist.errors import ImageError
from retfm_dist.image.seam import BlockLayout, has_seam

_END = b"\xff\xd9"
_BLOCK_PX = 8
_GARBLED = "the JPEG data are garbled"


def decode_jpeg(data: bytes, file: JpegImagePlugin.JpegImageFile) -> np.ndarray:
    """Decode a JPEG file.

    Args:
        data: The whole file; its end marker may be missing, and anything may follow it.
        file: The same file, opened and not loaded.

    Returns:
        uint8 [H, W, 3], red green blue, a view of four channels; or [H, W, 4] for CMYK.

    Raises:
        ImageError: The decoder warns of damaged or missing data, or a shift of all blocks from
            one on shows that a flipped bit went unnoticed.
    """
    if file.mode not in ("L", "RGB", "YCbCr"):
        decode_strictly(data, "CMYK")
        return np.asarray(file)
    pixels = decode_strictly(data, "RGBX")[..., :3]
    layout = _block_layout(file)
    if layout is not None and has_seam(pixels, layout):
        raise ImageError(_GARBLED, got="a shift of all that follows one block")
    return pixels


def decode_strictly(data: bytes, color: str = "RGB") -> np.ndarray:
    """Decode a JPEG to the pixels that Pillow gives, [H, W, C] uint8, but fail on warnings.

    Args:
        data: The whole file; its end marker may be missing, and anything may follow it.
        color: "RGB", "RGBX" (a fourth channel without meaning), "GRAY" or "CMYK".

    Raises:
        ImageError: The data are damaged or end too early.
    """
    reason = None
    # Only what follows the last pixel may be missing: the decoder still warns of the rest.
    for ending in (data, data + _END, data.rstrip(b"\0") + _END):
        try:
            return _decode(ending, color)
        except ValueError as error:
            reason = reason or error
    raise ImageError(_GARBLED, got=str(reason).lower()) from reason


def _decode(data: bytes, color: str) -> np.ndarray:
    return simplejpeg.decode_jpeg(data, color, fastdct=False, fastupsample=False, strict=True)


def _block_layout(file: JpegImagePlugin.JpegImageFile) -> BlockLayout | None:
    """Return how the blocks lie, or None where the header leaves it open."""
    layers, tables = getattr(file, "layer", []), getattr(file, "quantization", {})
    steps = [tables[layer[3]][0] / _BLOCK_PX for layer in layers if layer[3] in tables]
    if len(steps) != len(layers) or len(layers) not in (1, 3):
        return None
    if len(layers) == 1:
        return BlockLayout(_BLOCK_PX, _BLOCK_PX, (steps[0], 0.0, 0.0))
    return BlockLayout(
        height=_BLOCK_PX * max(layer[2] for layer in layers),
        width=_BLOCK_PX * max(layer[1] for layer in layers),
        mean_steps=(steps[0], steps[1], steps[2]),
    )
