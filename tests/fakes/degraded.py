"""Photographs as bad cameras, bad scanners and old lenses make them."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def _pixels(image):
    return np.asarray(image).astype(np.float32)


def _image(pixels):
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _noise(image):
    return _image(_pixels(image) + np.random.default_rng(0).normal(0, 18, (*image.size[::-1], 3)))


def _tilt(image):
    return _image(_pixels(image) * np.linspace(0.15, 1, image.width)[None, :, None])


def _vignette(image):
    rows, columns = np.mgrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
    light = np.clip(1.25 - 0.9 * (rows**2 + columns**2), 0.08, 1)
    return _image(_pixels(image) * light[..., None])


def _logo(image):
    marked, (width, height) = image.copy(), image.size
    pen = ImageDraw.Draw(marked)
    pen.rectangle((5, 5, width * 0.16, height * 0.1), fill=(240, 240, 240))
    pen.text((12, 12), "CLINIC", fill=(0, 0, 200))
    pen.text((width * 0.7, height * 0.95), "2019-03-04 12:00", fill=(255, 255, 255))
    return marked


def _page(image):
    width, height = image.size
    page = Image.new("RGB", (int(width * 1.4), int(height * 1.5)), (252, 252, 250))
    page.paste(image, (int(width * 0.2), int(height * 0.2)))
    for line in range(8):
        place = (width * 0.2, height * 1.25 + 14 * line)
        ImageDraw.Draw(page).text(place, "Patient: Doe, Jane  1950-01-02", fill=(20, 20, 20))
    return page


def _border(image):
    framed = Image.new("RGB", (image.width + 16, image.height + 16), (255, 255, 255))
    framed.paste(image, (8, 8))
    return framed


DEGRADATIONS = {
    "dark": lambda image: _image(_pixels(image) * 0.25),
    "gamma 2.2": lambda image: _image(255 * (_pixels(image) / 255) ** 2.2),
    "gamma 0.5": lambda image: _image(255 * (_pixels(image) / 255) ** 0.5),
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(6)),
    "haze": lambda image: _image(_pixels(image) * 0.55 + 80),
    "noise": _noise,
    "tilt of light": _tilt,
    "vignette": _vignette,
    "logo": _logo,
    "half cut off": lambda image: image.crop((0, 0, int(image.width * 0.55), image.height)),
    "white page": _page,
    "white border": _border,
}
"""Name and function (RGB image -> RGB image) of each."""


def origin(name, image):
    """Return row and column at which the photograph's corner lies in the degraded picture."""
    if name == "white page":
        return int(image.height * 0.2), int(image.width * 0.2)
    return (8, 8) if name == "white border" else (0, 0)
