"""Circles of known truth are found among points of something else."""

import numpy as np
import pytest

from retfm_dist.image.circle import fit_circle

TRUTH = (120.0, 150.0, 90.0)


def arc(start=0.0, stop=2 * np.pi, *, count=400, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    angles = np.linspace(start, stop, count, endpoint=False)
    radius = TRUTH[2] + noise * rng.normal(size=count)
    return np.column_stack([TRUTH[0] + radius * np.sin(angles), TRUTH[1] + radius * np.cos(angles)])


def fit(points):
    return fit_circle(points, min_radius=20, max_radius=400)


def assert_true(found, *, atol):
    np.testing.assert_allclose((found.center_y, found.center_x, found.radius), TRUTH, atol=atol)


def test_a_clean_circle_is_found_exactly():
    found = fit(arc())
    assert_true(found, atol=1e-6)
    assert found.support == 1.0
    assert found.coverage == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_noise_of_half_a_pixel_moves_it_by_less(seed):
    assert_true(fit(arc(noise=0.4, seed=seed)), atol=0.3)


def test_an_arc_cut_by_the_frame_is_enough():
    found = fit(arc(0.25 * np.pi, 1.25 * np.pi))
    assert_true(found, atol=1e-6)
    assert 0.45 < found.coverage < 0.6


def test_points_of_text_inside_take_away_support_and_do_not_move_it():
    rng = np.random.default_rng(0)
    text = rng.uniform((100, 120), (130, 180), (150, 2))
    found = fit(np.concatenate([arc(), text]))
    assert_true(found, atol=0.05)
    assert found.support == pytest.approx(400 / 550, abs=0.03)


def test_no_admissible_circle_is_none():
    assert fit_circle(arc(), min_radius=100, max_radius=400) is None
    line = np.column_stack([np.arange(100.0), np.arange(100.0)])
    assert fit(line) is None


def test_the_same_points_give_the_same_bits():
    points = arc(noise=0.4)
    assert fit(points) == fit(points.copy())
