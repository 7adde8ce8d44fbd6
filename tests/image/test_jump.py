import numpy as np
import pytest

from retfm_dist.image.block_steps import BlockLayout, measure_steps
from retfm_dist.image.jump import has_jump
from tests.fakes.damage import shift
from tests.fakes.discs import draw_disc

LAYOUTS = [BlockLayout(8, 8, (0.5,) * 3), BlockLayout(16, 16, (0.5,) * 3)]


def scene():
    return np.asarray(draw_disc(height=480, width=640, center_y=240, center_x=320, radius=230))


def jumps(pixels, layout):
    return has_jump(measure_steps(pixels, layout))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("amount", [[90, 90, 90], [180, 0, 0], [255, 255, 255], [70, 70, -80]])
def test_all_blocks_jump_from_one_on_though_all_of_them_burn_out(layout, amount):
    pixels = scene()
    columns = 640 // layout.width
    block = 12 * columns + columns // 3
    assert not jumps(pixels, layout)
    assert jumps(shift(pixels, layout, block, np.array(amount)), layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("color", [0, 128, 255])
def test_a_straight_edge_is_no_jump(layout, color):
    for rows in (slice(0, 96), slice(96, None)):
        pixels = scene().copy()
        pixels[rows] = color
        assert not jumps(pixels, layout)


def test_a_corner_is_no_jump():
    """A page on the right begins between two columns, but nothing goes on to the left below it."""
    pixels = scene().copy()
    pixels[192:, 200:] = 255
    assert not any(jumps(pixels, layout) for layout in LAYOUTS)
