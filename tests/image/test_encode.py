"""What is written: baseline 4:2:0 JPEG that carries pixels and nothing else."""

import io

import numpy as np
from PIL import Image, JpegImagePlugin

from retfm_dist.image.encode import difference_hash, encode_jpeg, miniature
from tests.fakes.discs import draw_disc


def markers(data):
    """List the JPEG markers up to the scan."""
    found, position = [], 2
    while True:
        found.append(data[position + 1])
        if found[-1] == 0xDA:
            return found
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")


def test_jpeg_is_baseline_420_without_metadata():
    image = draw_disc()
    image.info = {"comment": b"Jane Doe", "icc_profile": b"x" * 400, "exif": b"Exif\0\0Jane Doe"}
    data = encode_jpeg(image, quality=95)
    # JFIF header, quantization, baseline frame, Huffman tables, scan: no APP1/2, no comment
    assert set(markers(data)) == {0xE0, 0xDB, 0xC0, 0xC4, 0xDA}
    assert b"Jane" not in data
    with Image.open(io.BytesIO(data)) as decoded:
        assert JpegImagePlugin.get_sampling(decoded) == 2  # 4:2:0
        difference = np.asarray(decoded, np.int16) - np.asarray(image, np.int16)
    assert np.abs(difference).mean() < 4


def test_quality_sets_the_size():
    image = draw_disc(noise=8)
    sizes = [len(encode_jpeg(image, quality=quality)) for quality in (50, 80, 95)]
    assert sizes == sorted(sizes)
    assert encode_jpeg(image, quality=80) == encode_jpeg(image, quality=80)


def hamming(first, second):
    return (int(first, 16) ^ int(second, 16)).bit_count()


def test_hash_is_256_bits_and_survives_scaling_and_compression():
    image = draw_disc(height=600, width=600, center_y=300, center_x=300, radius=290)
    with Image.open(io.BytesIO(encode_jpeg(image.resize((256, 256)), quality=70))) as again:
        near = hamming(difference_hash(image), difference_hash(again.convert("RGB")))
    mirrored = hamming(
        difference_hash(image), difference_hash(image.transpose(Image.Transpose.FLIP_TOP_BOTTOM))
    )
    assert len(difference_hash(image)) == 64
    assert near <= 20 < 40 < mirrored


def test_hash_bits_say_where_brightness_rises():
    ramp = np.repeat(np.arange(17, dtype=np.uint8)[None, :, None] * 15, 16, axis=0).repeat(
        3, axis=2
    )
    assert difference_hash(Image.fromarray(ramp)) == "f" * 64
    assert difference_hash(Image.fromarray(ramp[:, ::-1].copy())) == "0" * 64


def test_a_miniature_is_small_gray_and_stable_under_encoding():
    image = draw_disc()
    small = np.frombuffer(miniature(image), np.uint8).astype(int)
    again = Image.open(io.BytesIO(encode_jpeg(image, quality=50)))
    assert small.shape == (256,)
    assert np.abs(small - np.frombuffer(miniature(again), np.uint8)).mean() < 1
