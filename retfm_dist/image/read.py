"""Decode JPEG, PNG and TIFF files to upright 8-bit sRGB, or say why not."""

import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin, TiffImagePlugin, UnidentifiedImageError

from retfm_dist.errors import ImageError
from retfm_dist.image.adobe_rgb import adobe_rgb_profile, is_adobe_rgb
from retfm_dist.image.color import Meaning, check_high_bytes, to_srgb
from retfm_dist.image.jpeg import decode_jpeg
from retfm_dist.image.png import SIGNATURE, keep_picture, significant_bits

FORMATS = ("JPEG", "PNG", "TIFF")
_ORIENTATION_TAG, _PHOTOMETRIC_TAG, _BITS_TAG, _MAX_VALUE_TAG = 274, 262, 258, 281
_WHITE_IS_ZERO = 0
# EXIF 2.32, tag Orientation: what turns the stored picture [H, W, 3] upright.
_UPRIGHT: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}


def decode_image(data: bytes) -> np.ndarray:
    """Decode the bytes of an image file.

    The first picture of a file with several is taken and turned upright by its EXIF orientation.
    Gray is spread to three channels, 16 bits are scaled to 8, transparent parts become black,
    inverted gray is inverted back, and color profiles, embedded or named by EXIF, are converted to
    sRGB. Broken metadata do no harm; broken pixels are an error, even where decoders only warn.

    Args:
        data: A whole JPEG, PNG or TIFF file.

    Returns:
        uint8 [H, W, 3], red green blue.

    Raises:
        ImageError: The data are of another kind, truncated, damaged, or larger than Pillow's
            decompression-bomb limit (`PIL.Image.MAX_IMAGE_PIXELS`, 89 megapixels).
    """
    if not data:
        raise ImageError("the file is empty")
    with warnings.catch_warnings():
        # Pillow warns of odd metadata, which we drop, and of bombs, which we refuse.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            if data.startswith(SIGNATURE):
                data = keep_picture(data)
            with Image.open(io.BytesIO(data), formats=FORMATS) as file:
                pixels = _decode(data, file)
                # Only now: Pillow turns TIFF upright by itself, and then drops the tag.
                turn = _UPRIGHT.get(_orientation(file))
                return pixels if turn is None else np.ascontiguousarray(turn(pixels))
        except ImageError:
            raise
        except UnidentifiedImageError as error:
            raise ImageError("not a JPEG, PNG or TIFF file") from error
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise ImageError(
                "the image is implausibly large",
                expected=f"at most {Image.MAX_IMAGE_PIXELS} pixels",
            ) from error
        except Exception as error:  # Pillow's parsers raise whatever they trip over
            raise ImageError("the image cannot be decoded", got=error) from error


def _orientation(file: Image.Image) -> int:
    """Return the EXIF orientation; 1, upright, where there is none that can be read."""
    try:
        return int(file.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken metadata do not make a broken picture
        return 1


def _profile(file: Image.Image) -> bytes | None:
    """Return the color profile that a file embeds, or else that of a space that EXIF names."""
    embedded = file.info.get("icc_profile")
    if embedded is not None:
        return embedded
    try:
        # Of PNG, only once the pixels are loaded: Pillow loads them to look for EXIF behind them.
        return adobe_rgb_profile() if is_adobe_rgb(file.getexif()) else None
    except Exception:  # broken metadata do not make a broken picture
        return None


def _decode(data: bytes, file: Image.Image) -> np.ndarray:
    """Decode the pixels of an open file to sRGB."""
    if isinstance(file, JpegImagePlugin.JpegImageFile):
        profile = _profile(file)
        pixels = decode_jpeg(data, file)
        is_rgb = pixels.shape[2] == 3
        if is_rgb and profile is None:
            return pixels
        mode = file.mode if file.mode == "L" else None  # a gray profile is for gray
        image = Image.fromarray(pixels, "RGB" if is_rgb else "CMYK")
        return np.asarray(to_srgb(image.convert(mode) if mode else image, Meaning(profile)))
    bits, is_inverted = _bits(data, file), _is_inverted(file)
    keeps_high_bytes = any(";16" in str(tile[3]) for tile in getattr(file, "tile", ()))
    file.load()
    if keeps_high_bytes and file.mode in ("RGB", "RGBA", "LA"):
        check_high_bytes(file)
    return np.asarray(to_srgb(file, Meaning(_profile(file), bits, is_inverted)))


def _bits(data: bytes, file: Image.Image) -> int | None:
    """Return the significant bits of a sample, where the file states fewer than 16."""
    if isinstance(file, TiffImagePlugin.TiffImageFile):
        stated = [_first(file.tag_v2.get(_BITS_TAG))]
        largest = _first(file.tag_v2.get(_MAX_VALUE_TAG))
        stated.append(largest.bit_length() if largest else None)
        return min((bits for bits in stated if bits and 8 < bits < 16), default=None)
    return significant_bits(data)


def _first(value: Any) -> int | None:
    first = value[0] if isinstance(value, tuple) and value else value
    return int(first) if isinstance(first, int | float) else None


def _is_inverted(file: Image.Image) -> bool:
    """Whether zero means white and Pillow, which turns 8 bits round, has not done so."""
    return (
        isinstance(file, TiffImagePlugin.TiffImageFile)
        and file.tag_v2.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO
        and file.mode.startswith("I;16")
    )
