import numpy as np
import pytest
from scipy.stats import norm

from retfm_dist.statistics.auroc import auroc
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


def test_the_published_example_of_ovarian_cancer_comes_out():
    """Data of DeLong et al. 1988 as in SAS/STAT's LOGISTIC documentation, "Comparing ROC Curves".

    Published there: AUROC .7366 (albumin), .6478 (total protein), .7258 (K-G score); differences
    from K-G .0108 (standard error .0953, p .9102) and -.0780 (.1046, .4561).
    """
    rows = """
        3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
        1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
        4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
        3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
        3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
        3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
        3.6 6.6 5 1"""
    albumin, protein, score, label = np.array(rows.split(), float).reshape(-1, 4).T
    labels, patients, score = label.astype(int), np.arange(43), 10 - score
    areas = [auroc(labels, values) for values in (albumin, protein, score)]
    np.testing.assert_allclose(areas, [0.7366, 0.6478, 0.7258], atol=5e-5)
    for values, value, error, p in (
        (albumin, 0.0108, 0.0953, 0.9102),
        (protein, -0.0780, 0.1046, 0.4561),
    ):
        found = delong_test(labels, values, score, patients)
        np.testing.assert_allclose(
            [found.value, found.variance**0.5, found.p], [value, error, p], atol=5e-5
        )
