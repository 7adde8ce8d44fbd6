import numpy as np
import pytest

from retfm_dist.statistics.operating import choose_threshold, net_benefit


def test_a_threshold_meets_its_demand_and_the_next_one_would_waste():
    rng = np.random.default_rng(0)
    for seed in range(50):
        labels = np.r_[0, 1, rng.integers(0, 2, 60)]
        scores = np.round(rng.normal(labels), 1)
        t = choose_threshold(labels, scores, specificity=0.9)
        negatives = scores[labels == 0]
        assert (negatives < t).mean() >= 0.9
        lower = np.unique(scores)[np.unique(scores) < t]
        assert not len(lower) or (negatives < lower[-1]).mean() < 0.9, seed
        t = choose_threshold(labels, scores, sensitivity=0.9)
        positives = scores[labels == 1]
        assert (positives >= t).mean() >= 0.9
        higher = np.unique(scores)[np.unique(scores) > t]
        assert not len(higher) or (positives >= higher[0]).mean() < 0.9


def test_where_no_score_is_specific_enough_nothing_is_called_positive():
    assert choose_threshold([0, 1], [0.9, 0.1], specificity=1.0) == float("inf")


def test_net_benefit_equals_its_formula_and_is_the_prevalence_at_no_cost():
    labels = np.array([1, 1, 0, 0, 0])
    scores = np.array([0.9, 0.2, 0.8, 0.1, 0.1])
    found = net_benefit(labels, scores, [0.01, 0.5])
    assert found[1] == pytest.approx(1 / 5 - 1 / 5)
    assert found[0] == pytest.approx(2 / 5 - 3 / 5 * 0.01 / 0.99)
