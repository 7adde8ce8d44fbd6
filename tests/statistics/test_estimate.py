import numpy as np
import pytest
from scipy import stats

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


def seeds(values):
    influences = np.tile([0.003, -0.004] * 20, (len(values), 1))
    return estimate(np.array(values), influences, Design("seeds"))


def test_few_seeds_have_few_degrees_of_freedom():
    """Satterthwaite's formula, by hand; seeds that agree leave those of the patients."""
    found = seeds([0.70, 0.80, 0.75])
    fixed, of_seeds = 20 * (0.003**2 + 0.004**2), 0.05**2 / 3
    degrees = (fixed + of_seeds) ** 2 / (fixed**2 / 39 + of_seeds**2 / 2)
    assert found.degrees(40) == pytest.approx(degrees)
    interval = found.interval(scale="plain", num_patients=40, alpha=0.05)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(fixed + of_seeds)
    assert interval.high - interval.low == pytest.approx(2 * half)
    assert seeds([0.7, 0.7, 0.7]).degrees(40) == 39
    assert seeds([0.7]).degrees(40) == 39


def test_of_two_seeds_there_is_no_interval_but_the_reason():
    interval = seeds([0.7, 0.8]).interval(scale="unit", num_patients=40, alpha=0.05)
    assert (interval.low, interval.high) == (None, None)
    assert interval.note == "insufficient: 2 training seeds, an interval needs 3"
    assert Design("seeds").describe(1) == "sampling of patients, of one training seed"
