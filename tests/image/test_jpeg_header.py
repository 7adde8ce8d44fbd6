import io

import pytest
from PIL import Image

from retfm_dist.image.encode import encode_jpeg
from retfm_dist.image.jpeg_header import is_picture_alone, read_jpeg_size
from tests.fakes.discs import draw_disc


@pytest.mark.parametrize("size", [(33, 47), (512, 512), (1, 9)])
def test_size_is_read_from_the_first_kilobyte(size):
    data = encode_jpeg(Image.new("RGB", size, (90, 40, 20)), quality=95)
    assert read_jpeg_size(data[:1024]) == size[::-1]


def test_size_of_anything_else_is_unknown():
    data = encode_jpeg(draw_disc(), quality=95)
    buffer = io.BytesIO()
    draw_disc().save(buffer, "JPEG", progressive=True)
    without_frame = data[:2] + data[data.index(b"\xff\xda") :]
    for head in (b"", b"\x89PNG\r\n", data[:30], data[1:], buffer.getvalue(), without_frame):
        assert read_jpeg_size(head) is None


def test_a_jpeg_as_we_write_it_is_its_picture_alone():
    jpeg = encode_jpeg(draw_disc(), quality=95)
    assert is_picture_alone(jpeg)
    comment = b"\xff\xfe\x00\x06text"
    exif = b"\xff\xe1\x00\x08Exif\0\0"
    for spoilt in (
        jpeg[:2] + comment + jpeg[2:], jpeg[:2] + exif + jpeg[2:], jpeg + b"text", jpeg[:-2],
        jpeg[:-2] + comment + jpeg[-2:], b"text" + jpeg, jpeg.replace(b"JFIF", b"Jane", 1), b"",
    ):  # fmt: skip
        assert not is_picture_alone(spoilt)
