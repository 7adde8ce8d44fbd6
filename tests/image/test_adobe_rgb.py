import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from retfm_dist.image.adobe_rgb import adobe_rgb_profile, is_adobe_rgb
from retfm_dist.image.read import decode_image
from tests.fakes.discs import draw_disc


def exif(*, index=None, space=None):
    made = Image.Exif()
    if space is not None:
        made.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = space
    if index is not None:
        made.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = {1: index}
    read = Image.Exif()
    read.load(made.tobytes())
    return read


@pytest.mark.parametrize(
    ("named", "expected"),
    [({"index": "R03", "space": 0xFFFF}, True), ({"space": 2}, True), ({"index": "R98", "space": 1}, False),
     ({"space": 0xFFFF}, False), ({}, False)],
)  # fmt: skip
def test_the_color_space_is_what_exif_names(named, expected):
    assert is_adobe_rgb(exif(**named)) is expected


def test_the_profile_is_that_of_the_published_encoding():
    profile = ImageCms.ImageCmsProfile(io.BytesIO(adobe_rgb_profile()))
    assert ImageCms.getProfileDescription(profile).strip() == "Adobe RGB (1998)"
    transform = ImageCms.buildTransform(
        profile, ImageCms.createProfile("sRGB"), "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    colors = np.array([[[255, 255, 255], [128, 128, 128], [180, 90, 60]]], np.uint8)
    found = np.asarray(ImageCms.applyTransform(Image.fromarray(colors), transform))
    # The encoding's definition: gamma 2.19921875, its primaries, then sRGB's (IEC 61966-2-1).
    to_xyz = [[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]]
    to_srgb = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    linear = (colors / 255.0) ** (563 / 256) @ np.transpose(to_xyz) @ np.transpose(to_srgb)
    linear = linear.clip(0, 1)
    expected = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    assert np.abs(found - 255 * expected).max() < 1.5


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_photograph_in_adobe_rgb_shows_the_scene_of_its_srgb_version(form):
    scene = draw_disc(height=200, width=240, center_y=100, center_x=120, radius=90)
    wide = ImageCms.profileToProfile(
        scene,
        ImageCms.createProfile("sRGB"),
        ImageCms.ImageCmsProfile(io.BytesIO(adobe_rgb_profile())),
    )
    wide.info = {}
    tags = exif(index="R03", space=0xFFFF).tobytes()
    buffer = io.BytesIO()
    wide.save(buffer, form, quality=98, subsampling=0, exif=tags)
    pixels = decode_image(buffer.getvalue())
    assert np.abs(pixels.astype(int) - np.asarray(scene)).mean() < 1.5
    assert np.abs(np.asarray(wide).astype(int) - np.asarray(scene)).mean() > 3
