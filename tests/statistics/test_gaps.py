import numpy as np
import pytest
from scipy import stats

from retfm_dist.statistics.auroc import auroc, auroc_metric
from retfm_dist.statistics.gaps import (
    compare_gaps,
    equalized_odds,
    es_auc,
    gap_test,
    group_values,
    outcomes_of,
    standardized_auroc,
)


def cohort(seed, sizes, *, advantage=0.0):
    """Images of groups with `sizes` (positive, negative); the first group is easier to judge."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.r_[np.ones(p, int), np.zeros(n, int)] for p, n in sizes])
    groups = np.repeat(np.arange(len(sizes)), [p + n for p, n in sizes])
    return labels, rng.normal(labels * (1.5 + advantage * (groups == 0))), groups


def test_values_of_groups_are_those_of_their_images():
    labels, scores, groups = cohort(0, [(20, 30), (15, 25)])
    found = group_values(auroc_metric(labels, scores, np.arange(90)), groups, 2)
    expected = [auroc(labels[groups == g], scores[groups == g]) for g in (0, 1)]
    assert found == pytest.approx(expected)


def p_of(seed, sizes, **options):
    labels, scores, groups = cohort(seed, sizes, **options)
    patients = np.arange(len(labels))
    return gap_test(
        auroc_metric(labels, scores, patients),
        groups,
        outcomes_of(labels, patients),
        num_groups=len(sizes),
        num_permutations=99,
        seed=seed,
    )


def test_a_fair_model_with_small_groups_is_not_called_unfair():
    """Groups of 41/63, 7/35 and 3/16: the mean gap of a fair model is about 0.15."""
    found = [p_of(seed, [(41, 63), (7, 35), (3, 16)]) for seed in range(150)]
    assert np.mean([item.p <= 0.05 for item in found]) <= 0.10  # standard error 0.018
    assert 0.1 < np.mean([item.gap for item in found]) < 0.2
    assert abs(np.mean([item.excess for item in found])) < 0.02


def test_a_planted_gap_is_found():
    found = [p_of(seed, [(60, 80), (60, 80)], advantage=1.5) for seed in range(20)]
    assert np.mean([item.p <= 0.05 for item in found]) > 0.8
    assert np.mean([item.excess for item in found]) > 0.05


def test_equal_differences_are_not_heterogeneous():
    p = [
        compare_gaps(np.random.default_rng(s).normal(0.1, 0.03, 3), np.full(3, 0.0009), 100).p
        for s in range(300)
    ]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert compare_gaps(np.array([0.2, 0.0]), np.full(2, 0.0004), 100).p < 0.001


def test_equalized_odds_lie_in_their_interval():
    rng = np.random.default_rng(0)
    truth = np.array([[0.8, 0.7], [0.1, 0.15]])
    covered = 0
    for _ in range(200):
        rates = rng.binomial(100, truth) / 100
        found = equalized_odds(rates, rates * (1 - rates) / 100, num_patients=100, alpha=0.05)
        assert found.low <= found.value <= found.high
        covered += found.low <= 0.1 <= found.high
    assert covered / 200 >= 0.95


def test_equal_groups_leave_the_auroc_as_it_is():
    assert es_auc(0.8, np.array([0.8, 0.8])) == 0.8
    assert es_auc(0.8, np.array([0.9, 0.7])) == pytest.approx(0.8 / 1.2)


def test_standardizing_removes_a_confounder():
    """Each stratum is judged alike in both groups, but one group has more of the hard stratum."""
    rng = np.random.default_rng(0)
    group = np.repeat([True, False], 4000)
    strata = (rng.uniform(size=8000) < np.where(group, 0.8, 0.2)).astype(int)
    labels = rng.integers(0, 2, 8000)
    scores = rng.normal(labels * np.where(strata == 1, 0.3, 2.0))
    reference = np.array(
        [np.bincount(strata[labels == k], minlength=2) / (labels == k).sum() for k in (0, 1)]
    )
    crude = [auroc(labels[g], scores[g]) for g in (group, ~group)]
    adjusted = [standardized_auroc(labels, scores, strata, g, reference) for g in (group, ~group)]
    assert abs(crude[0] - crude[1]) > 0.1
    assert abs(adjusted[0] - adjusted[1]) < 0.02
    assert np.isnan(standardized_auroc(labels, scores, strata, group & (strata == 0), reference))
