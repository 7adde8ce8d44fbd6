"""The field of view is found whatever the frame cuts away and the camera adds."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from retfm_dist.errors import FieldOfViewError, ImageError
from retfm_dist.image.circle import fit_circle
from retfm_dist.image.crop import crop_field_of_view
from retfm_dist.image.field_of_view import FieldOfView, find_field_of_view
from tests.fakes.degraded import DEGRADATIONS, origin
from tests.fakes.discs import draw_disc

LAYOUTS = {
    "full": {},
    "off center": {"center_y": 131.0, "center_x": 243.5, "radius": 101.0},
    "touching the frame": {"radius": 150.0},
    "cut at top and bottom": {"radius": 185.0},
    "cut at one side": {"center_x": 90.0},
    "cut at four sides": {"radius": 222.0},
    "small": {"radius": 62.0},
    "dark": {"brightness": 40, "noise": 1},
    "bright": {"brightness": 400},
    "noisy": {"noise": 12},
    "large": {"height": 1500, "width": 2100, "center_y": 760, "center_x": 1049, "radius": 610.0},
    "cut, large": {
        "height": 1200,
        "width": 1800,
        "center_y": 590,
        "center_x": 905,
        "radius": 850.0,
    },
}


def assert_found(image, *, center_y=150.0, center_x=200.0, radius=120.0, **_):
    found = find_field_of_view(image)
    slack = max(1.0, 0.004 * max(image.size))
    assert found.kind == "circle"
    assert abs(found.radius - radius) < slack
    assert math.hypot(found.center_y - center_y, found.center_x - center_x) < slack


@pytest.mark.parametrize("layout", LAYOUTS)
def test_circle_is_found(layout):
    assert_found(draw_disc(**LAYOUTS[layout]), **LAYOUTS[layout])


def test_a_notch_does_not_move_the_circle():
    image = draw_disc()
    ImageDraw.Draw(image).polygon([(280, 40), (302, 62), (270, 72), (262, 62)], (160, 90, 60))
    assert_found(image)


def test_burnt_in_text_does_not_move_the_circle():
    image = draw_disc()
    pen = ImageDraw.Draw(image)
    pen.text((5, 5), "DOE^JANE 1950-02-03", (255, 255, 255))
    pen.text((300, 280), "2001-02-03 OD", (255, 255, 255))
    assert_found(image)


def test_a_dark_rim_on_one_side_does_not_move_the_circle():
    pixels = np.asarray(draw_disc(noise=1)).astype(np.float64)
    pixels[:, :150] *= np.linspace(0.02, 1, 150)[None, :, None]
    assert_found(Image.fromarray(pixels.astype(np.uint8)))


def test_a_black_half_moon_inside_does_not_move_the_circle():
    image = draw_disc()
    ImageDraw.Draw(image).ellipse([60, 90, 150, 220], (2, 1, 1))
    assert_found(image)


def test_a_gray_ground_is_ground():
    pixels = np.asarray(draw_disc(noise=1)).astype(np.int16) + 24
    assert_found(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))


def test_random_layouts_are_found():
    generator = np.random.default_rng(7)
    for seed in range(40):
        layout = {
            "center_y": generator.uniform(130, 170),
            "center_x": generator.uniform(180, 220),
            "radius": generator.uniform(70, 200),
            "brightness": generator.uniform(50, 300),
        }
        assert_found(draw_disc(seed=seed, **layout), **layout)


def test_without_a_border_the_frame_is_kept_whole():
    image = draw_disc(radius=2000)
    assert find_field_of_view(image) == FieldOfView(150, 200, 250, "frame")
    assert find_field_of_view(image).box(300, 400) == (0, 0, 300, 400)


def test_box_is_the_circle_within_the_photograph():
    field = FieldOfView(center_y=150, center_x=200, radius=180, kind="circle")
    assert field.box(300, 400) == (0, 20, 300, 380)


@pytest.mark.parametrize("color", [(0, 0, 0), (128, 64, 32), (255, 255, 255)])
def test_a_uniform_image_has_no_field_of_view(color):
    with pytest.raises(
        ImageError, match="no field of view: the image is uniform; got a contrast of 0"
    ):
        find_field_of_view(Image.new("RGB", (300, 200), color))


@pytest.mark.parametrize("size", [(12, 300), (3000, 40)])
def test_a_sliver_has_no_field_of_view(size):
    with pytest.raises(ImageError, match="too small or too narrow"):
        find_field_of_view(Image.new("RGB", size, (200, 100, 50)))


def test_what_is_not_round_has_no_field_of_view():
    image = Image.new("RGB", (400, 300))
    ImageDraw.Draw(image).polygon([(40, 30), (360, 60), (200, 200), (60, 270)], (200, 100, 60))
    with pytest.raises(ImageError, match="nothing bright has a round outline"):
        find_field_of_view(image)


def test_a_circle_is_fitted_through_a_majority_of_points():
    generator = np.random.default_rng(3)
    angles = generator.uniform(0, 2 * np.pi, 300)
    circle = np.stack([50 + 30 * np.sin(angles), 70 + 30 * np.cos(angles)], axis=1)
    stray = generator.uniform([30, 50], [70, 90], (120, 2))
    fit = fit_circle(np.concatenate([circle, stray]), min_radius=10, max_radius=100)
    assert fit is not None
    assert np.allclose([fit.center_y, fit.center_x, fit.radius], [50, 70, 30], atol=0.2)
    assert fit.coverage == 1.0
    assert 300 / 420 <= fit.support < 0.85


def test_no_circle_outside_the_admissible_radii():
    angles = np.linspace(0, 2 * np.pi, 100)
    points = np.stack([30 * np.sin(angles), 30 * np.cos(angles)], axis=1)
    assert fit_circle(points, min_radius=40, max_radius=100) is None
    line = np.stack([np.arange(100.0), np.zeros(100)], axis=1)
    assert fit_circle(line, min_radius=1, max_radius=100) is None


@pytest.mark.photographs
@pytest.mark.slow
@pytest.mark.parametrize("name", DEGRADATIONS)
def test_degraded_photographs_keep_their_circle(name):
    if not os.environ.get("RETFM_FUNDUS"):
        pytest.skip("RETFM_FUNDUS does not name the folder of photographs")
    paths = sorted(
        path
        for path in Path(os.environ["RETFM_FUNDUS"]).glob("*/*")
        if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".tif")
    )[::5]
    assert len(paths) > 20
    for path in paths:
        image = Image.open(path).convert("RGB")
        image.thumbnail((1000, 1000))
        field = find_field_of_view(image)
        assert field.kind == "circle"
        assert is_near(name, image, field), path.name


def is_near(name, image, field):
    """Whether the circle of the degraded picture lies within 2 % of the radius."""
    degraded = find_field_of_view(DEGRADATIONS[name](image))
    top, left = origin(name, image)
    offsets = (
        degraded.center_y - top - field.center_y,
        degraded.center_x - left - field.center_x,
        degraded.radius - field.radius,
    )
    return degraded.kind == "circle" and max(map(abs, offsets)) <= 0.02 * field.radius


def test_the_page_around_a_photograph_is_cut_away():
    image = draw_disc(radius=185.0)
    page = DEGRADATIONS["white page"](image)
    field = find_field_of_view(page)
    assert field.kind == "circle"
    square = np.asarray(crop_field_of_view(np.asarray(page), field).convert("RGB"))
    assert (
        square.min(axis=2).max() < 200
    )  # paper lies inside the circle, above and below the photograph


@pytest.mark.parametrize("seed", range(3))
def test_a_letter_noise_and_a_scan_have_no_circle(seed):
    generator = np.random.default_rng(seed)
    letter = Image.new("RGB", (600, 800), (250, 250, 248))
    for line in range(40):
        text = "".join(chr(97 + c) for c in generator.integers(0, 26, 70))
        ImageDraw.Draw(letter).text((60, 60 + 17 * line), text, fill=(30, 30, 30))
    noise = Image.fromarray(generator.integers(0, 256, (300, 400, 3), np.uint8))
    rows = np.mgrid[:300, :400][0]
    layers = 40 + 160 * np.exp(-(((rows - 150 - 20 * np.sin(np.arange(400) / 60)) / 25) ** 2))
    scan = Image.fromarray(
        (layers + generator.normal(0, 12, layers.shape)).clip(0, 255).astype(np.uint8)
    )
    for image in (letter, noise, scan.convert("RGB")):
        try:
            assert find_field_of_view(image).kind != "circle"
        except FieldOfViewError:
            continue
