"""Decoding: every format and depth to upright RGB, and clear words for what is no image."""

import io

import numpy as np
import pytest
from PIL import Image

from retfm_dist.errors import ImageError
from retfm_dist.image import read
from retfm_dist.image.read import decode_image
from tests.fakes.discs import draw_disc


def encode(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "options"), [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})]
)
def test_lossless_formats_come_back_exactly(form, options):
    image = draw_disc()
    decoded = decode_image(encode(image, form, **options))
    assert decoded.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(decoded), np.asarray(image))


def test_a_jpeg_comes_back_without_its_metadata():
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    decoded = decode_image(encode(draw_disc(), "JPEG", exif=exif, comment=b"Jane Doe"))
    assert decoded.size == (400, 300)
    assert decoded.info == {}
    assert not decoded.getexif()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(form):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn by 90 degrees clockwise
    image = draw_disc(center_x=130)
    decoded = decode_image(encode(image, form, exif=exif))
    turned = np.asarray(image.transpose(Image.Transpose.ROTATE_270), np.int16)
    assert decoded.size == (300, 400)
    assert np.abs(np.asarray(decoded, np.int16) - turned).mean() < 4


def test_gray_alpha_and_palettes_become_rgb():
    gray = draw_disc().convert("L")
    decoded = np.asarray(decode_image(encode(gray, "PNG")))
    np.testing.assert_array_equal(decoded, np.repeat(np.asarray(gray)[..., None], 3, axis=2))
    clear = draw_disc().convert("RGBA")
    clear.putalpha(0)
    np.testing.assert_array_equal(
        np.asarray(decode_image(encode(clear, "PNG"))), np.asarray(draw_disc())
    )
    palette = draw_disc().convert("P")
    np.testing.assert_array_equal(
        np.asarray(decode_image(encode(palette, "PNG"))), np.asarray(palette.convert("RGB"))
    )


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight_with_rounding(form):
    values = np.array([[0, 128, 129, 257, 65535, 65407, 65406, 32768]], np.uint16)
    decoded = np.asarray(decode_image(encode(Image.fromarray(values), form)))
    assert decoded[0, :, 0].tolist() == [0, 0, 1, 1, 255, 255, 254, 128]


def test_values_beyond_sixteen_bits_and_floats_are_refused():
    with pytest.raises(ImageError, match="do not fit 16 bits; got 0 to 70000"):
        decode_image(encode(Image.fromarray(np.array([[0, 70000]], np.int32)), "TIFF"))
    with pytest.raises(ImageError, match="floating-point pixels are not supported"):
        decode_image(encode(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file_is_refused(form, share):
    data = encode(draw_disc(), form)
    with pytest.raises(
        ImageError, match="the image cannot be decoded; got|not a JPEG, PNG or TIFF"
    ):
        decode_image(data[: int(len(data) * share)])


def test_the_reason_is_the_same_every_time():
    data = encode(draw_disc(), "JPEG")[:5000]
    reasons = set()
    for _ in range(3):
        with pytest.raises(ImageError, match="truncated") as caught:
            decode_image(data)
        reasons.add(str(caught.value))
    assert len(reasons) == 1


@pytest.mark.parametrize(
    "data",
    [b"patient_id,eye\n1,L\n" * 40, b"\x00" * 5000, b"\xff\xd8\xff", encode(draw_disc(), "BMP")],
)
def test_what_is_no_supported_image_is_refused(data):
    with pytest.raises(ImageError, match="not a JPEG, PNG or TIFF file"):
        decode_image(data)


def test_an_empty_file_is_refused():
    with pytest.raises(ImageError, match="the file is empty"):
        decode_image(b"")


@pytest.mark.parametrize("limit", [100_000, 50_000])  # Pillow warns from one, raises from two
def test_a_decompression_bomb_is_refused(monkeypatch, limit):
    monkeypatch.setattr(read.Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ImageError, match=f"implausibly large; expected at most {limit} pixels"):
        decode_image(encode(draw_disc(), "PNG"))
