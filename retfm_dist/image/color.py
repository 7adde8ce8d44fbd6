"""Stored values to what they mean: 8-bit sRGB, opaque, the right way round."""

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from retfm_dist.errors import ImageError

_SIXTEEN_BIT_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_TRANSPARENT_MODES = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})
_DEPTHS = (8, 10, 12, 14, 16)
_MIN_HIGH_BYTE = 64
# ICC.1: signatures of the color spaces of device profiles, by Pillow's mode.
_PROFILE_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}


@dataclass(frozen=True)
class Meaning:
    """What a file says about its stored values.

    Attributes:
        profile: ICC profile.
        bits: Significant bits of a 16-bit sample, where the file states fewer than 16.
        is_inverted: Whether zero means white in 16-bit gray.
    """

    profile: bytes | None = None
    bits: int | None = None
    is_inverted: bool = False


def to_srgb(image: Image.Image, meaning: Meaning) -> Image.Image:
    """Convert a picture of any mode to a fresh RGB image without metadata.

    What is transparent becomes black, the surround of a fundus photograph. A color profile is
    applied where it fits the picture and is readable, and ignored where it is not.

    Args:
        image: The decoded picture; 16-bit gray is scaled by `narrow`.
        meaning: What the file says about them.

    Raises:
        ImageError: Floating-point pixels, or values that do not fit 16 bits.
    """
    if image.mode in _SIXTEEN_BIT_MODES:
        gray = narrow(np.asarray(image), bits=meaning.bits)
        image = Image.fromarray(255 - gray if meaning.is_inverted else gray)
    if image.mode == "F":
        raise ImageError("floating-point pixels are not supported", expected="8 or 16 bits")
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        image = _on_black(image)
    if image.mode in ("1", "P", "HSV", "YCbCr", "RGBX"):
        image = image.convert("RGB")
    rgb = _apply_profile(image, meaning.profile) or image.convert("RGB")
    rgb.info = {}
    return rgb


def narrow(values: np.ndarray, *, bits: int | None) -> np.ndarray:
    """Scale samples of up to 16 bits to 8, with rounding.

    Cameras store 10, 12 or 14 bits in 16. Where the file does not say how many are meant, it is
    the smallest of 8, 10, 12, 14 and 16 that holds the largest value.

    Args:
        values: [H, W] whole numbers.
        bits: Significant bits, where the file states them.

    Raises:
        ImageError: A value is negative or does not fit 16 bits.
    """
    largest = int(values.max())
    if int(values.min()) < 0 or largest > 0xFFFF:
        raise ImageError("the pixel values do not fit 16 bits", got=f"{values.min()} to {largest}")
    if bits is None or not 8 <= bits <= 16 or largest >= 1 << bits:
        bits = next(depth for depth in _DEPTHS if largest < 1 << depth)
    top = (1 << bits) - 1
    return ((values.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)


def check_high_bytes(image: Image.Image) -> None:
    """Refuse color of 16 bits whose upper 8, all that Pillow reads, hold next to nothing.

    Raises:
        ImageError: See above.
    """
    largest = max(high for _, high in image.getextrema())  # pyright: ignore
    if largest < _MIN_HIGH_BYTE:
        raise ImageError(
            "color in 16 bits of which the upper ones are empty",
            got=f"at most {largest} of 255 in the upper byte",
            hint="convert the file to 8 bits a channel",
        )


def _on_black(image: Image.Image) -> Image.Image:
    """Lay a transparent picture on black; what it stores below full transparency vanishes."""
    rgba = image.convert("RGBA")
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba).convert("RGB")


def _apply_profile(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    """Convert to sRGB by the file's profile, or by the meaning of L*a*b*; None without either."""
    if profile is None and image.mode != "LAB":
        return None
    transform = _transform(profile, image.mode)
    if transform is None:
        return None
    return ImageCms.applyTransform(image, transform)


@lru_cache(maxsize=16)
def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform to sRGB; None where the profile is broken, unfit, or sRGB itself."""
    try:
        source = ImageCms.createProfile("LAB")
        if profile is not None:
            opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            space = getattr(opened.profile, "xcolor_space", "").strip()
            name = ImageCms.getProfileDescription(opened)
            if space != _PROFILE_SPACES.get(mode) or "srgb" in name.lower():
                return None
            source = opened
        return ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
