"""PNG files reduced to their picture: what is dropped, what must be sound."""

import io
import struct
import zlib

import pytest
from PIL import Image

from retfm_dist.errors import ImageError
from retfm_dist.image.png import SIGNATURE, keep_picture, significant_bits
from tests.fakes.discs import draw_disc


def chunk(kind, body, *, crc=None):
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


@pytest.fixture(scope="module")
def png():
    buffer = io.BytesIO()
    draw_disc().save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"tIME", b"prIv"])
def test_text_and_private_chunks_go_whatever_they_hold(png, kind):
    spoilt = png[:33] + chunk(kind, b"Jane Doe" * 9, crc=0) + png[33:]
    assert keep_picture(spoilt) == keep_picture(png) == png
    assert keep_picture(png + b"appended") == png
    assert keep_picture(png[:-12]) == png


def test_color_and_orientation_stay_where_they_are_sound(png):
    sound = chunk(b"gAMA", struct.pack(">I", 45455))
    assert keep_picture(png[:33] + sound + png[33:]) == png[:33] + sound + png[33:]
    assert keep_picture(png[:33] + chunk(b"iCCP", b"x", crc=1) + png[33:]) == png
    assert keep_picture(png[:33] + chunk(b"eXIf", b"x" * (5 << 20)) + png[33:]) == png


def test_a_flipped_bit_in_the_picture_is_an_error(png):
    for place in (20, 60, len(png) // 2, len(png) - 20):
        damaged = bytearray(png)
        damaged[place] ^= 4
        with pytest.raises(ImageError, match="garbled; got a damaged (IHDR|IDAT) chunk|cut off"):
            keep_picture(bytes(damaged))


def test_a_file_that_ends_within_the_picture_is_cut_off(png):
    with pytest.raises(ImageError, match="the PNG data are cut off"):
        keep_picture(png[: len(png) // 2])


def test_significant_bits_are_read():
    assert significant_bits(SIGNATURE + chunk(b"sBIT", bytes([12])) + chunk(b"IEND", b"")) == 12
    assert significant_bits(SIGNATURE + chunk(b"IEND", b"")) is None


def test_the_kept_picture_opens(png):
    assert Image.open(io.BytesIO(keep_picture(png))).size == (400, 300)
