import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from retfm_dist.statistics.precision import precision_recall_points, weighted_auprc


def test_weights_count_images_that_often():
    rng = np.random.default_rng(0)
    labels, scores = np.r_[1, rng.integers(0, 2, 29)], np.round(rng.normal(size=30), 1)
    weights = rng.integers(0, 4, (20, 30))
    weights[:, 0] = 1
    for row, value in zip(weights, weighted_auprc(labels, scores, weights), strict=True):
        repeated = np.repeat(labels, row), np.repeat(scores, row)
        assert value == pytest.approx(average_precision_score(*repeated), abs=1e-12)


def test_without_positives_it_is_undefined():
    assert np.isnan(weighted_auprc([0, 0], [0.1, 0.2], np.ones((1, 2)))[0])


def test_the_points_are_those_of_the_curve():
    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 2, 40), np.round(rng.normal(size=40), 1)
    precision, recall, _ = precision_recall_curve(labels, scores)
    points = precision_recall_points(labels, scores)
    assert points[::-1][:, 0] == pytest.approx(recall[:-1])
    assert points[::-1][:, 1] == pytest.approx(precision[:-1])
