"""Cropping: black outside the circle, square, never enlarged."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from retfm_dist.image.crop import crop_field_of_view, shrink
from retfm_dist.image.field_of_view import FieldOfView, find_field_of_view
from tests.fakes.discs import draw_disc


def test_everything_outside_the_circle_is_black_and_inside_is_untouched():
    image = Image.new("RGB", (400, 300), (255, 255, 255))
    field = FieldOfView(center_y=150.3, center_x=199.6, radius=90.5, kind="circle")
    square = np.asarray(crop_field_of_view(np.asarray(image), field).convert("RGB"))
    top, left, bottom, right = field.box(300, 400)
    assert square.shape == (bottom - top, right - left, 3)
    rows, columns = np.mgrid[top:bottom, left:right] + 0.5
    distance = np.hypot(rows - field.center_y, columns - field.center_x)
    np.testing.assert_array_equal(square[..., 0], np.where(distance <= field.radius, 255, 0))


def test_burnt_in_text_is_gone():
    plain = draw_disc(noise=0)
    marked = plain.copy()
    pen = ImageDraw.Draw(marked)
    pen.text((80, 35), "DOE^JANE", (255, 255, 255))
    pen.text((265, 250), "1950-02-03", (255, 255, 255))
    field = find_field_of_view(plain)
    assert np.asarray(marked).sum() > np.asarray(plain).sum()
    np.testing.assert_array_equal(
        np.asarray(crop_field_of_view(np.asarray(marked), field).convert("RGB")),
        np.asarray(crop_field_of_view(np.asarray(plain), field).convert("RGB")),
    )


def test_a_cut_circle_is_padded_to_a_square_around_its_middle():
    image = draw_disc(radius=185, noise=0)
    square = np.asarray(
        crop_field_of_view(np.asarray(image), FieldOfView(150, 200, 185, "circle")).convert("RGB")
    )
    assert square.shape == (370, 370, 3)
    assert not square[:35].any()
    assert not square[335:].any()
    np.testing.assert_array_equal(square[185], np.asarray(image)[150, 15:385])


def test_a_frame_is_kept_to_the_corners():
    image = draw_disc(radius=2000)
    square = np.asarray(
        crop_field_of_view(np.asarray(image), find_field_of_view(image)).convert("RGB")
    )
    assert square.shape == (400, 400, 3)
    np.testing.assert_array_equal(square[50:350], np.asarray(image))


@pytest.mark.parametrize("side", [513, 700, 2049])
def test_shrinking_gives_the_size_asked_for(side):
    image = draw_disc(
        height=side, width=side, center_y=side / 2, center_x=side / 2, radius=side / 2
    )
    small = shrink(image, 512)
    assert small.size == (512, 512)
    assert abs(np.asarray(small).mean() - np.asarray(image).mean()) < 0.5


def test_shrinking_does_not_alias():
    stripes = np.zeros((2048, 2048, 3), np.uint8)
    stripes[:, ::2] = 255
    small = np.asarray(shrink(Image.fromarray(stripes), 500))
    assert np.abs(small.astype(int) - 127).max() <= 3


def test_small_images_are_never_enlarged():
    image = draw_disc(height=200, width=200, center_y=100, center_x=100, radius=90)
    for size in (512, 200):
        np.testing.assert_array_equal(shrink(image, size), image)
