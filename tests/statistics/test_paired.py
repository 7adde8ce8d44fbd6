import numpy as np
import pytest
from scipy import stats

from retfm_dist.statistics.auroc import auroc
from retfm_dist.statistics.equivalence import PairedEstimate
from retfm_dist.statistics.estimate import FIXED, estimate
from retfm_dist.statistics.paired import (
    adjusted_verdict,
    judge_difference,
    permutation_p,
    permute_ranks,
)


def difference(value, error, num_patients=100):
    """Two values of a plain scale, each with this error, that are independent."""
    influence = np.full((1, num_patients), error / np.sqrt(2 * num_patients))
    first, second = (estimate(np.array([v]), influence, FIXED) for v in (value, 0.0))
    whole = estimate(np.array([value]), np.sqrt(2) * influence, FIXED)
    return PairedEstimate(whole, first, second, "plain")


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [
        (0.10, 0.02, "superior"),
        (-0.10, 0.02, "inferior"),
        (0.001, 0.005, "equivalent"),
        (0.01, 0.003, "equivalent"),  # not zero, but too small to matter
        (0.01, 0.03, "inconclusive"),
    ],
)
def test_a_difference_supports_one_of_four_claims(value, error, verdict):
    found = judge_difference(difference(value, error), margin=0.02, num_patients=100, alpha=0.05)
    assert found.verdict == verdict
    assert found.p == pytest.approx(2 * stats.t.sf(abs(value) / error, 99))


def test_too_few_patients_support_no_claim():
    few = judge_difference(difference(0.3, 0.01), margin=0.02, num_patients=9, alpha=0.05)
    assert (few.verdict, few.p, few.interval.low) == ("insufficient", None, None)


def test_two_models_that_no_patient_tells_apart_are_equivalent_from_enough_patients_on():
    few, many = (
        judge_difference(difference(0.0, 0.0), margin=0.02, num_patients=n, alpha=0.05)
        for n in (148, 149)
    )
    # 0.98 ** 149 is below 0.05: "no event in n".
    assert (few.verdict, many.verdict, many.p) == ("inconclusive", "equivalent", 1.0)
    assert many.interval.low is None


def two_models(seed, *, num_patients=40, advantage=0.0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_patients) % 2, 2)
    patients = np.repeat(np.arange(num_patients), 2)
    shared = np.repeat(rng.normal(size=num_patients), 2)
    a = labels * (1 + advantage) + shared + rng.normal(size=2 * num_patients)
    b = labels + shared + rng.normal(size=2 * num_patients)
    return labels, a, 10 * b, patients  # on another scale


def permuted_p(seed, **options):
    labels, a, b, patients = two_models(seed, **options)
    differences = permute_ranks(labels, a, b, patients, num_permutations=99, seed=seed)
    return permutation_p(auroc(labels, a) - auroc(labels, b), differences)


def test_the_permutation_p_is_uniform_without_a_difference_and_small_with_one():
    p = np.array([permuted_p(seed) for seed in range(200)])
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert (p <= 0.05).mean() <= 0.09  # standard error 0.015
    assert np.median([permuted_p(seed, advantage=3.0) for seed in range(20)]) <= 0.02


def test_a_p_value_is_never_zero():
    assert permutation_p(1.0, np.zeros(99)) == 0.01


def test_a_claim_that_does_not_outlast_the_adjustment_is_withdrawn():
    assert adjusted_verdict("superior", 0.04, alpha=0.05) == "superior"
    assert adjusted_verdict("inferior", 0.06, alpha=0.05) == "inconclusive"
    assert adjusted_verdict("superior", None, alpha=0.05) == "inconclusive"
    assert adjusted_verdict("equivalent", 0.9, alpha=0.05) == "equivalent"
