import numpy as np
import pytest

from retfm_dist.image.block_steps import BlockLayout, measure_steps
from retfm_dist.image.lasting import continues, is_line, lasts
from tests.fakes.damage import shift
from tests.fakes.discs import draw_disc

LAYOUTS = [BlockLayout(8, 8, (0.5,) * 3), BlockLayout(16, 16, (0.5,) * 3)]


def scene():
    """A disc that grows darker from left to right, as few photographs are even."""
    disc = draw_disc(height=480, width=640, center_y=240, center_x=320, radius=310)
    shade = np.linspace(1.0, 0.6, 640)[None, :, None]
    return (np.asarray(disc) * shade).astype(np.uint8)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("amount", [-10, 8])
def test_a_shift_lasts_goes_on_and_is_no_line(layout, amount):
    columns = 640 // layout.width
    pixels = shift(scene(), layout, (240 // layout.height) * columns + columns // 2, amount)
    found = measure_steps(pixels, layout)
    assert lasts(pixels, layout, found, 0)
    assert continues(found, 0)
    assert not is_line(pixels, layout, found, 0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_dark_line_goes_back(layout):
    pixels = scene().copy()
    pixels[240 : 240 + 6] //= 2
    found = measure_steps(pixels, layout)
    assert is_line(pixels, layout, found, 0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("color", [40, 200])
def test_a_picture_does_not_go_on_in_a_bar(layout, color):
    pixels = scene().copy()
    pixels[240:] = color
    assert not continues(measure_steps(pixels, layout), 0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_crosses_a_bar_does_not_make_a_picture_go_on_in_it(layout):
    """A bar over the whole width, and one of another color down the whole height, over both."""
    pixels = scene().copy()
    pixels[240:336] = 240
    pixels[:, 400:480] = (0, 0, 200)
    found = measure_steps(pixels, layout)
    assert not any(continues(found, channel) for channel in (1, 2))
