"""Decode JPEG, PNG and TIFF files to upright 8-bit RGB."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from retfm_dist.errors import ImageError

FORMATS = ("JPEG", "PNG", "TIFF")
_SIXTEEN_BIT_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})


def decode_image(data: bytes) -> Image.Image:
    """Decode the bytes of an image file.

    The first picture of a file with several is taken, the EXIF orientation applied, alpha
    dropped, gray spread to three channels, and 16 bits scaled to 8 with rounding.

    Args:
        data: A whole JPEG, PNG or TIFF file.

    Returns:
        RGB image without metadata.

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
            with Image.open(io.BytesIO(data), formats=FORMATS) as file:
                upright = ImageOps.exif_transpose(file)
                return _to_rgb(upright)
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


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to a fresh RGB image, which has no metadata attached."""
    if image.mode in _SIXTEEN_BIT_MODES:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ImageError(
                "the pixel values do not fit 16 bits", got=f"{values.min()} to {values.max()}"
            )
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise ImageError("floating-point pixels are not supported", expected="8 or 16 bits")
    rgb = image.convert("RGB")
    rgb.info = {}
    return rgb
