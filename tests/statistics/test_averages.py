import numpy as np
import pytest

from retfm_dist.statistics.averages import average, average_paired
from retfm_dist.statistics.equivalence import PairedEstimate
from retfm_dist.statistics.estimate import FIXED, Design, estimate


def mean_of(values):
    """The estimate of a mean over patients, whose influence is known."""
    values = np.asarray(values, float)
    influence = (values - values.mean()) / np.sqrt(len(values) * (len(values) - 1))
    return estimate(np.array([values.mean()]), influence[None], FIXED)


def names(first, count):
    return np.array([f"p{i}" for i in range(first, first + count)])


def test_test_sets_without_a_common_patient_are_independent():
    rng = np.random.default_rng(0)
    one, two = mean_of(rng.normal(size=50)), mean_of(rng.normal(size=80))
    found = average([one, two], [names(0, 50), names(100, 80)])
    assert found.value == pytest.approx((one.value + two.value) / 2)
    assert found.variance == pytest.approx((one.variance + two.variance) / 4)


def test_the_same_patients_twice_tell_no_more():
    one = mean_of(np.random.default_rng(0).normal(size=50))
    order = np.random.default_rng(1).permutation(50)
    again = estimate(np.array([one.value]), one.influence[order][None], FIXED)
    found = average([one, again], [names(0, 50), names(0, 50)[order]])
    assert found.variance == pytest.approx(one.variance)


def test_the_variance_is_that_of_repeated_studies_whose_sets_overlap():
    rng = np.random.default_rng(2)
    values, variances = [], []
    for _ in range(2000):
        patients = rng.normal(size=90)
        noise = rng.normal(size=(2, 60))
        sets = [mean_of(patients[:60] + noise[0]), mean_of(patients[30:] + noise[1])]
        found = average(sets, [names(0, 60), names(30, 60)])
        values.append(found.value)
        variances.append(found.variance)
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.1)


def test_what_refits_and_seeds_add_goes_together_in_all_sets():
    rng = np.random.default_rng(3)
    design = Design("cross_validation", num_folds=5)
    sets = [estimate(rng.normal(size=8), rng.normal(size=(8, 40)), design) for _ in range(2)]
    beside = [item.variance - item.fixed_variance for item in sets]
    found = average(sets, [names(0, 40), names(40, 40)])
    expected = (np.sqrt(beside[0]) / 2 + np.sqrt(beside[1]) / 2) ** 2
    assert found.variance - found.fixed_variance == pytest.approx(expected)
    seeds = estimate(rng.normal(size=4), rng.normal(size=(4, 40)), Design("seeds"))
    assert average([sets[0], seeds], [names(0, 40), names(40, 40)]).num_seeds == 4
    assert average(sets, [names(0, 40), names(40, 40)]).num_seeds == 0


def test_pairs_are_averaged_part_by_part():
    rng = np.random.default_rng(4)
    items = []
    for _ in range(2):
        first, second = mean_of(rng.normal(size=30)), mean_of(rng.normal(size=30))
        difference = estimate(
            np.array([first.value - second.value]),
            (first.influence - second.influence)[None],
            FIXED,
        )
        items.append(PairedEstimate(difference, first, second, "plain"))
    found = average_paired(items, [names(0, 30), names(0, 30)])
    assert found.first.value == pytest.approx((items[0].first.value + items[1].first.value) / 2)
    assert found.difference.value == pytest.approx(found.first.value - found.second.value)
    assert found.scale == "plain"
