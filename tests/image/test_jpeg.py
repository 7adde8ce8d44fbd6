"""Strict decoding: the pixels of Pillow, and no garbled picture among them."""

import io

import numpy as np
import pytest
from PIL import Image

from retfm_dist.errors import ImageError
from retfm_dist.image.jpeg import decode_jpeg, decode_strictly
from tests.fakes.discs import draw_disc


def encode(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **({"quality": 90} | options))
    return buffer.getvalue()


def decode(data):
    return decode_jpeg(data, Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"quality": 30}]
)
def test_pixels_are_those_of_pillow(mode, options):
    data = encode(draw_disc().convert(mode), **options)
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    np.testing.assert_array_equal(decode(data), np.asarray(expected))


def test_cmyk_is_decoded_by_pillow_and_checked_all_the_same():
    data = encode(draw_disc().convert("CMYK"))
    assert decode(data).shape[2] == 4
    with pytest.raises(ImageError, match="garbled"):
        decode(data[: len(data) // 2])


def test_the_end_marker_alone_may_be_missing():
    data = encode(draw_disc())
    for sound in (data[:-2], data[:-1], data + b"more", data + b"\0" * 99, data[:-2] + b"\0" * 9):
        np.testing.assert_array_equal(decode_strictly(sound), decode_strictly(data))
    with pytest.raises(ImageError, match="garbled; got premature end"):
        decode_strictly(data[:-200])


def garble(data, kind, generator):
    damaged = bytearray(data)
    first = data.index(b"\xff\xda") + 14
    if kind == "hole":
        size = min(4096, (len(data) - first) // 2)
        start = int(generator.integers(first, len(data) - 2 - size))
        damaged[start : start + size] = (
            bytes(size) if generator.integers(2) else generator.bytes(size)
        )
    else:
        for place in generator.integers(first, len(data) - 2, 5):
            damaged[place] ^= 1 << int(generator.integers(8))
    return bytes(damaged)


@pytest.mark.parametrize("kind", ["hole", "flips"])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}])
def test_garbled_pictures_are_refused_or_hardly_changed(kind, options):
    generator = np.random.default_rng(0)
    data = encode(
        draw_disc(height=480, width=640, center_y=240, center_x=320, radius=210), **options
    )
    original = decode_strictly(data).astype(int)
    passed = changed = 0
    for _ in range(60):
        try:
            decoded = decode(garble(data, kind, generator))
        except ImageError:
            continue
        passed += 1
        changed += np.abs(np.asarray(decoded).astype(int) - original).mean() >= 3
    assert changed <= 6  # of 60: what a shift does to black surround is clipped
    assert kind != "hole" or passed == 0
