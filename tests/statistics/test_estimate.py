import numpy as np
import pytest

from retfm_dist.statistics.estimate import FIXED, MIN_REPEATS, Design, estimate

CROSS = Design("cross_validation", 5)


def test_a_fixed_predictor_has_the_variance_of_its_influences():
    found = estimate(np.array([0.8]), np.array([[0.1, -0.2, 0.1]]), FIXED)
    assert (found.value, found.variance) == (0.8, pytest.approx(0.06))


def test_fits_that_agree_add_nothing_and_fits_that_do_not_add_at_most_as_much_again():
    agree = np.tile([0.1, -0.2, 0.1], (6, 1))
    values = np.full(6, 0.7)
    assert estimate(values, agree, CROSS).variance == pytest.approx(0.06)
    slightly = agree + 0.01 * np.array([1, -1, 1, -1, 1, -1])[:, None]
    added = 4 * 3 * np.var([0.01, -0.01] * 3, ddof=1)
    assert estimate(values, slightly, CROSS).variance == pytest.approx(0.06 + added)
    wildly = agree + np.array([1, -1, 1, -1, 1, -1])[:, None]
    assert estimate(values, wildly, CROSS).variance == pytest.approx(2 * 0.06)


def test_few_repeats_take_the_largest_effect_and_say_so():
    few = np.tile([0.1, -0.2, 0.1], (MIN_REPEATS - 1, 1))
    found = estimate(np.full(MIN_REPEATS - 1, 0.7), few, CROSS)
    assert found.variance == pytest.approx(2 * found.fixed_variance)
    assert "largest effect" in CROSS.describe(MIN_REPEATS - 1)
    assert CROSS.describe(10) == "sampling of patients and refits, 10 x 5 folds"


def test_seeds_add_the_variance_of_their_mean():
    influences = np.tile([0.1, -0.2, 0.1], (4, 1))
    values = np.array([0.7, 0.8, 0.7, 0.8])
    found = estimate(values, influences, Design("seeds"))
    assert found.value == pytest.approx(0.75)
    assert found.variance == pytest.approx(0.06 + np.var(values, ddof=1) / 4)
