import numpy as np
import pytest
from scipy.stats import norm

from retfm_dist.statistics.delong import delong_test


def direct(labels, a, b):
    """DeLong's covariance written out over all pairs."""
    positive, negative = labels == 1, labels == 0
    structure = []
    for scores in (a, b):
        wins = (np.sign(scores[positive][:, None] - scores[negative][None, :]) + 1) / 2
        structure.append((wins.mean(), wins.mean(axis=1), wins.mean(axis=0)))
    cov10 = np.cov(structure[0][1], structure[1][1])
    cov01 = np.cov(structure[0][2], structure[1][2])
    covariance = cov10 / positive.sum() + cov01 / negative.sum()
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return structure[0][0] - structure[1][0], variance


def test_with_one_image_per_patient_it_is_delongs_test():
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = np.r_[0, 1, rng.integers(0, 2, 48)]
        a, b = np.round(rng.normal(labels), 1), np.round(rng.normal(labels), 1)
        value, variance = direct(labels, a, b)
        found = delong_test(labels, a, b, np.arange(50))
        assert found.value == pytest.approx(value, abs=1e-12)
        assert found.variance == pytest.approx(variance, abs=1e-12)
        assert found.p == pytest.approx(2 * norm.sf(abs(value) / np.sqrt(variance)))


def test_copies_of_every_image_are_no_evidence():
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 30)
    a, b = rng.normal(labels), rng.normal(labels)
    once = delong_test(labels, a, b, np.arange(60))
    twice = delong_test(*(np.repeat(x, 2) for x in (labels, a, b, np.arange(60))))
    assert twice.variance == pytest.approx(once.variance)
    as_if = delong_test(np.repeat(labels, 2), np.repeat(a, 2), np.repeat(b, 2), np.arange(120))
    assert as_if.variance < 0.6 * once.variance


def test_models_that_rank_alike_do_not_differ():
    labels, a = np.tile([0, 1], 10), np.arange(20.0)
    assert delong_test(labels, a, 3 * a + 1, np.arange(20)).p == 1.0
