import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from retfm_dist.synth.encode import choose_codec, encode, suffix_of
from retfm_dist.synth.streams import PatientKey

PICTURE = np.tile(np.arange(96, dtype=np.uint8)[:, None, None] * 2, (1, 64, 3))


@pytest.mark.parametrize(
    ("codec", "subsampling"), [("jpeg_444", 0), ("jpeg_422", 1), ("jpeg_420", 2)]
)
def test_jpegs_have_the_chroma_sampling_asked_for(codec, subsampling):
    image = Image.open(io.BytesIO(encode(PICTURE, codec, jpeg_quality=90)))
    assert image.format == "JPEG"
    assert JpegImagePlugin.get_sampling(image) == subsampling
    assert np.abs(np.asarray(image).astype(int) - PICTURE).max() <= 6
    assert suffix_of(codec) == ".jpg"


@pytest.mark.parametrize(
    ("codec", "kind", "suffix"), [("png", "PNG", ".png"), ("tiff", "TIFF", ".tif")]
)
def test_lossless_files_give_the_pixels_back(codec, kind, suffix):
    image = Image.open(io.BytesIO(encode(PICTURE, codec, jpeg_quality=90)))
    assert image.format == kind
    np.testing.assert_array_equal(np.asarray(image), PICTURE)
    assert suffix_of(codec) == suffix


def test_the_default_is_jpeg_420_and_mixed_has_every_kind():
    keys = [PatientKey(0, 0, number) for number in range(200)]
    assert {choose_codec(key, "left", image_format="jpg") for key in keys} == {"jpeg_420"}
    mixed = Counter(choose_codec(key, "left", image_format="mixed") for key in keys)
    assert set(mixed) == {"jpeg_420", "jpeg_422", "jpeg_444", "png", "tiff"}
    assert mixed.most_common(1)[0][0] == "jpeg_420"
