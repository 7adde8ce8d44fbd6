"""Turn the light of the eye into a picture: illumination, veil, color, blur, noise."""

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.special import ndtri

from retfm_dist.synth.anatomy import Anatomy, Capture
from retfm_dist.synth.draw.field import Coarse, Field
from retfm_dist.synth.sites import Device

Floats = NDArray[np.float32]

_VEIL_COLOR = np.array([0.55, 0.50, 0.42])
_FLARE_COLOR = np.array([0.80, 0.75, 0.45])
_SHOULDER = 0.75
_TONES_PER_UNIT = 2048
_NUM_TONES = 3 * _TONES_PER_UNIT
_LEAST_BLUR_PX = 0.5
_LEAST_HALVED_BLUR_PX = 0.8
# What halving and doubling a picture blurs by itself.
_HALVING_BLUR_PX = 0.5
_WARMTH = np.array([0.05, 0.0, -0.12])


def take_picture(
    light: Floats,
    anatomy: Anatomy,
    capture: Capture,
    *,
    device: Device,
    field: Field,
    stream: Generator,
) -> NDArray[np.uint8]:
    """Return the picture [H, W, 3] of the light [3, h, w] in the field's box.

    `light` is modified in place.
    """
    lamp = field.coarse.enlarge(_illuminate(capture, device, field.coarse))
    lamp *= field.mask
    flare = _draw_flare(capture, field.coarse)
    veil = min(0.6, capture.veil + 0.35 * anatomy.haze)
    gain = np.array(device.color_gain) * np.exp(_WARMTH * capture.warmth) * capture.exposure
    tones = _build_tones(device)
    picture = np.empty((*field.shape, 3), np.uint8)
    for channel, unit in enumerate((gain * _TONES_PER_UNIT).astype(np.float32)):
        plane = light[channel]
        plane *= unit * np.float32(1 - veil)
        plane += unit * np.float32(veil * _VEIL_COLOR[channel])
        if flare is not None:
            plane += unit * np.float32(_FLARE_COLOR[channel]) * flare
        plane *= lamp
        np.clip(plane, 0, _NUM_TONES - 1, out=plane)
        picture[..., channel] = tones[plane.astype(np.uint16)]
    blurred = _blur(picture, capture.blur * field.radius_px / 1000)
    return _add_noise(blurred, device=device, field=field, stream=stream)


def _illuminate(capture: Capture, device: Device, field: Coarse) -> Floats:
    """Return the lamp's light [h, w]: less at the rim, and less on one side."""
    squared = field.x**2 + field.y**2
    side = field.x * math.cos(capture.shade_angle) + field.y * math.sin(capture.shade_angle)
    shade = 1 - capture.shade / (1 + np.exp((0.55 - side) * 5))
    return ((1.04 - device.vignette * squared**1.3) * shade).astype(np.float32)


def _draw_flare(capture: Capture, field: Coarse) -> Floats | None:
    """Return the crescent that a badly aligned pupil leaves at the rim, at full size, if any."""
    if capture.flare == 0:
        return None
    away = np.hypot(
        field.x + 0.35 * math.cos(capture.flare_angle),
        field.y + 0.35 * math.sin(capture.flare_angle),
    )
    flare = np.float32(0.5 * capture.flare) * np.clip((away - 0.95) / 0.4, 0, 1) ** 2
    return field.enlarge(flare.astype(np.float32, copy=False))


def _build_tones(device: Device) -> NDArray[np.uint8]:
    """Return the tone curve as a table; its bright end is soft and leaves room for the noise."""
    bright = (np.arange(_NUM_TONES) / _TONES_PER_UNIT) ** device.gamma
    over = np.maximum(bright - _SHOULDER, 0)
    squeezed = np.minimum(bright, _SHOULDER) + over / (1 + 3 * over)
    highest = 255 - int(_noise_levels(device)[-1])
    return np.minimum(squeezed * 255 + 0.5, highest).astype(np.uint8)


def _blur(picture: NDArray[np.uint8], deviation_px: float) -> NDArray[np.uint8]:
    """Blur by a Gaussian; a strong blur is done at half the resolution, for speed."""
    if deviation_px < _LEAST_BLUR_PX:
        return picture
    image = Image.fromarray(picture)
    if deviation_px < _LEAST_HALVED_BLUR_PX:
        return np.asarray(image.filter(ImageFilter.GaussianBlur(deviation_px)))
    rest = math.sqrt(deviation_px**2 - _HALVING_BLUR_PX**2) / 2
    small = image.reduce(2).filter(ImageFilter.GaussianBlur(rest))
    return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))


def _add_noise(
    picture: NDArray[np.uint8], *, device: Device, field: Field, stream: Generator
) -> NDArray[np.uint8]:
    """Set the box on the black canvas and add the sensor's noise to all of it."""
    height, width = field.canvas_shape
    levels = _noise_levels(device)
    drawn = np.frombuffer(stream.bytes(height * width), np.uint8).reshape(height, width, 1)
    canvas = np.repeat(levels[drawn], 3, axis=2)
    # No sum exceeds 255, see _build_tones.
    canvas[:, field.left : field.left + field.shape[1]] += picture
    return canvas


def _noise_levels(device: Device) -> NDArray[np.uint8]:
    """Return 256 equally likely values of the black surround, ascending."""
    quantiles = ndtri((np.arange(256) + 0.5) / 256)
    levels = np.rint(device.black_level + device.noise * quantiles)
    return np.maximum(levels, 0).astype(np.uint8)
