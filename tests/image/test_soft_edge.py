"""A blurred rim is found where the light has fallen by half."""

import numpy as np
import pytest
from scipy import ndimage

from retfm_dist.image.soft_edge import find_soft_edge

CENTER, RADIUS = (150.0, 160.0), 100.0


def disc(*, sigma=0.0, height=300, width=320):
    rows, columns = np.mgrid[:height, :width] + 0.5
    distance = np.hypot(rows - CENTER[0], columns - CENTER[1])
    sharp = 4 + 120 * np.clip(RADIUS - distance + 0.5, 0, 1)
    return ndimage.gaussian_filter(sharp, sigma).astype(np.float32)


@pytest.mark.parametrize("sigma", [2.0, 3.0, 4.0])
def test_a_blurred_rim_lies_at_half_its_height(sigma):
    # Where a level of 5 % puts it: 1.64 standard deviations outside.
    found = find_soft_edge(disc(sigma=sigma), *CENTER, RADIUS + 1.64 * sigma)
    assert abs(found - RADIUS) < 0.2


@pytest.mark.parametrize("off", [-1.0, 0.0, 1.0])
def test_a_sharp_rim_keeps_its_circle(off):
    assert find_soft_edge(disc(), *CENTER, RADIUS + off) == RADIUS + off


def test_a_side_in_the_dark_and_a_bright_stroke_do_not_speak_for_the_rim():
    blurred = disc(sigma=3.0)
    blurred[:, :110] *= 0.05
    blurred[140:160, 200:] = 255
    assert abs(find_soft_edge(blurred, *CENTER, RADIUS + 5) - RADIUS) < 0.5


def test_a_rim_outside_the_frame_is_not_judged():
    cut = disc(sigma=3.0)[65:235, 80:240]
    assert find_soft_edge(cut, CENTER[0] - 65, CENTER[1] - 80, RADIUS + 5) == RADIUS + 5
