import numpy as np
import pytest
from scipy import stats

from retfm_dist.statistics.equivalence import PairedEstimate
from retfm_dist.statistics.estimate import (
    FIXED,
    MIN_REPEATS,
    Design,
    degrees_of_freedom,
    estimate,
)
from retfm_dist.statistics.paired import judge_difference
from retfm_dist.statistics.student import Student

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


def test_fits_whose_effects_are_not_returned_add_less():
    wildly = np.array([0.1, -0.2, 0.1]) + np.array([1, -1, 1, -1, 1, -1])[:, None]
    for repeats in (len(wildly), MIN_REPEATS - 1):
        design = Design("cross_validation", 5, reciprocity=0.3)
        found = estimate(np.full(repeats, 0.7), wildly[:repeats], design)
        assert found.variance == pytest.approx(1.3 * found.fixed_variance)


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


def test_what_a_seed_does_to_each_patient_is_counted_once():
    """Two-way layout of known components: the variance is that of its mean, simulated."""
    generator = np.random.default_rng(3)
    num_seeds, num_patients, deviations = 8, 60, (0.06, 0.1, 0.5)
    means, variances = [], []
    for _ in range(8000):
        of_seed = deviations[0] * generator.normal(size=(num_seeds, 1))
        of_patient = deviations[1] * generator.normal(size=num_patients)
        of_both = deviations[2] * generator.normal(size=(num_seeds, num_patients))
        table = of_seed + of_patient + of_both
        values = table.mean(axis=1)
        influences = (table - values[:, None]) / np.sqrt(num_patients * (num_patients - 1))
        found = estimate(values, influences, Design("seeds"))
        means.append(found.value)
        variances.append(found.variance)
    twice = np.var(means) + deviations[2] ** 2 / num_seeds / num_patients
    # The maximum with the variance for these seeds makes it a little too large.
    assert 0.97 < np.mean(variances) / np.var(means) < 1.06
    assert np.mean(variances) < 0.8 * twice


def seeds(values, *, num_patients=40):
    influences = np.tile([0.003, -0.004] * (num_patients // 2), (len(values), 1))
    return estimate(np.array(values), influences, Design("seeds"))


def test_few_seeds_widen_the_interval():
    found = seeds([0.70, 0.80, 0.75])
    fixed, of_seeds = 20 * (0.003**2 + 0.004**2), 0.05**2 / 3  # the seeds do the same to all
    quantile = Student(39, of_seeds / (fixed + of_seeds), 2).quantile(0.975)
    assert quantile > 1.3 * stats.t.ppf(0.975, 39)
    interval = found.interval(scale="plain", num_patients=40, alpha=0.05)
    assert interval.high - interval.low == pytest.approx(2 * quantile * np.sqrt(fixed + of_seeds))


def test_two_seeds_allow_no_statement_about_others():
    few = seeds([0.70, 0.80], num_patients=800)
    interval = few.interval(scale="unit", num_patients=20, alpha=0.05)
    assert interval.low is None
    assert interval.note == "insufficient: 2 training seeds, an interval needs 3"
    paired = PairedEstimate(few, few, few, "unit")
    verdict = judge_difference(paired, margin=0.02, num_patients=20, alpha=0.05)
    assert (verdict.verdict, verdict.p) == ("insufficient", None)
    assert verdict.interval == interval
    for enough in (seeds([0.70, 0.80, 0.75]), seeds([0.70])):
        assert enough.interval(scale="unit", num_patients=20, alpha=0.05).low is not None


def test_the_variance_is_at_least_that_of_these_seeds_and_little_known_by_their_spread():
    generator = np.random.default_rng(1)
    influences = 0.01 + 0.01 * generator.normal(size=(3, 40))
    fixed = (influences.mean(axis=0) ** 2).sum()
    of_both = influences.var(axis=0, ddof=1).sum() / 3
    for of_seeds, more in ((0.9 * of_both, 0.0), (1.5 * of_both, 0.5 * of_both)):
        values = 0.8 + np.array([-1, 0, 1]) * np.sqrt(3 * of_seeds)
        found = estimate(values, influences, Design("seeds"))
        assert found.variance == pytest.approx(fixed + more)
        assert found.reference(20).share == pytest.approx(of_seeds / found.variance)


def test_seeds_that_agree_or_a_single_one_leave_the_patients():
    for values in ([0.7, 0.7, 0.7], [0.7]):
        assert seeds(values).reference(40) == Student(39)
    assert Design("seeds").describe(1) == "sampling of patients, of one training seed"


def test_a_variance_of_equal_patients_is_known_by_all_and_one_of_a_few_large_ones_by_these():
    generator = np.random.default_rng(0)
    equal, few = [], []
    deviations = np.repeat([5.0, 1.0], [10, 90])
    for _ in range(300):
        equal.append(degrees_of_freedom(generator.normal(size=100), at_least=1))
        few.append(degrees_of_freedom(deviations * generator.normal(size=100), at_least=1))
    # Satterthwaite's, of the true variances: (sum of variances)^2 / sum of their squares.
    expected = (deviations**2).sum() ** 2 / (deviations**4).sum()
    assert np.median(few) == pytest.approx(expected, rel=0.25)
    assert np.median(equal) > 90


def test_degrees_of_freedom_have_limits():
    one = np.r_[1.0, np.zeros(49)]
    assert degrees_of_freedom(one, at_least=9) == 9
    assert degrees_of_freedom(np.ones(50), at_least=9) == 49
    assert degrees_of_freedom(np.zeros(50), at_least=9) == 49
