"""Decoding: every format and depth to upright RGB, and clear words for what is no image."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from retfm_dist.errors import ImageError
from retfm_dist.image import read
from retfm_dist.image.png import SIGNATURE
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
    assert (decoded.dtype, decoded.shape) == (np.uint8, (300, 400, 3))
    np.testing.assert_array_equal(np.asarray(decoded), np.asarray(image))


def test_a_jpeg_with_metadata_comes_back():
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    decoded = decode_image(encode(draw_disc(), "JPEG", exif=exif, comment=b"Jane Doe"))
    assert decoded.shape == (300, 400, 3)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 10))
def test_exif_orientation_is_applied(form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(draw_disc(center_x=130, center_y=120), form, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    np.testing.assert_array_equal(decode_image(data), expected)


def test_gray_alpha_and_palettes_become_rgb():
    gray = draw_disc().convert("L")
    decoded = decode_image(encode(gray, "PNG"))
    np.testing.assert_array_equal(decoded, np.repeat(np.asarray(gray)[..., None], 3, axis=2))
    palette = draw_disc().convert("P")
    np.testing.assert_array_equal(
        decode_image(encode(palette, "PNG")), np.asarray(palette.convert("RGB"))
    )


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight_with_rounding(form):
    values = np.array([[0, 128, 129, 257, 65535, 65407, 65406, 32768]], np.uint16)
    decoded = decode_image(encode(Image.fromarray(values), form))
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
        ImageError,
        match="cannot be decoded; got|not a JPEG, PNG or TIFF|JPEG data are garbled|cut off",
    ):
        decode_image(data[: int(len(data) * share)])


def test_the_reason_is_the_same_every_time():
    data = encode(draw_disc(), "JPEG")[:5000]
    reasons = set()
    for _ in range(3):
        with pytest.raises(ImageError, match="garbled; got premature end of jpeg file") as caught:
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


def gray_tiff(values, **tags):
    """Return a one-strip gray TIFF of 16 bits a sample with the tags given by number."""
    data = values.astype("<u2").tobytes()
    entries = {
        256: values.shape[1],
        257: values.shape[0],
        258: 16,
        259: 1,
        262: 1,
        277: 1,
        278: values.shape[0],
    }
    entries |= {int(name[1:]): value for name, value in tags.items()}
    start = 8 + 2 + 12 * (len(entries) + 2) + 4
    entries |= {273: start, 279: len(data)}
    rows = [
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, entries[tag])
        for tag in sorted(entries)
    ]
    return (
        b"II*\0" + struct.pack("<IH", 8, len(rows)) + b"".join(rows) + struct.pack("<I", 0) + data
    )


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_fewer_bits_in_sixteen_keep_their_brightness(bits):
    gray = np.asarray(draw_disc(noise=0).convert("L")).astype(np.uint16)
    stored = (gray.astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)
    for data in (
        gray_tiff(stored),
        encode(Image.fromarray(stored), "PNG"),
        gray_tiff(stored, t281=(1 << bits) - 1),
    ):
        decoded = decode_image(data)[..., 0].astype(int)
        assert np.abs(decoded - gray).max() <= 1


@pytest.mark.parametrize("bits", [12, 16])
def test_inverted_gray_is_turned_round(bits):
    gray = np.asarray(draw_disc(noise=0).convert("L")).astype(np.int64)
    top = (1 << bits) - 1
    decoded = decode_image(gray_tiff(top - gray * top // 255, t262=0))[..., 0].astype(int)
    assert np.abs(decoded - gray).max() <= 1


def test_color_of_sixteen_bits_with_empty_upper_bytes_is_refused():
    values = (np.asarray(draw_disc()).astype(int) * 16).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 400, 300, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    with pytest.raises(
        ImageError, match="16 bits of which the upper ones are empty.*convert the file to 8"
    ):
        decode_image(data)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("below", [0, 128, 255])
def test_what_lies_below_transparency_does_not_come_out(form, below):
    shown = np.asarray(draw_disc(noise=0))
    outside = np.hypot(*(np.mgrid[:300, :400] - np.array([150, 200])[:, None, None])) > 125
    stored = np.where(outside[..., None], below, shown).astype(np.uint8)
    alpha = np.where(outside, 0, 255).astype(np.uint8)
    decoded = np.asarray(decode_image(encode(Image.fromarray(np.dstack([stored, alpha])), form)))
    np.testing.assert_array_equal(decoded, shown)


def test_transparent_gray_and_palettes_lie_on_black():
    half = Image.fromarray(
        np.dstack([np.full((64, 64), 200, np.uint8), np.full((64, 64), 128, np.uint8)]), "LA"
    )
    assert np.abs(decode_image(encode(half, "PNG")).astype(int) - 100).max() <= 1
    palette = draw_disc().convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    black = palette.convert("RGB").getpixel((0, 0))
    decoded = decode_image(encode(palette, "PNG", transparency=palette.getpixel((200, 150))))
    assert tuple(decoded[0, 0]) == black
    assert tuple(decoded[150, 200]) == (0, 0, 0)


def test_broken_metadata_do_no_harm():
    image = draw_disc()
    jpeg, png = encode(image, "JPEG"), encode(image, "PNG")
    broken_exif = b"Exif\0\0" + bytes(range(40, 90))
    text = b"Comment\0" + b"x" * 3_000_000
    long_text = (
        struct.pack(">I", len(text))
        + b"tEXt"
        + text
        + struct.pack(">I", zlib.crc32(b"tEXt" + text))
    )
    sound = [
        jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(broken_exif) + 2) + broken_exif + jpeg[2:],
        jpeg + b"\0" * 5000 + b"more",
        jpeg[:-2],
        encode(image, "JPEG", icc_profile=b"not a profile"),
        png[:33] + long_text + png[33:],
        png[:33] + long_text[:-1] + b"?" + png[33:],
        png[:-12],
    ]
    for data in sound:
        expected = decode_image(png if data.startswith(SIGNATURE) else jpeg)
        np.testing.assert_array_equal(decode_image(data), np.asarray(expected))
