import numpy as np
import pytest

from retfm_dist.evaluate.judge.levels import aggregate
from tests.fakes.predictions import predictions


def test_patients_have_the_mean_probability_and_the_most_severe_label():
    item = predictions(num_patients=12)
    item.labels[0] = 1
    found = aggregate(item, "patient")
    assert len(found.labels) == 12
    assert found.labels[0] == 1
    mean = item.probabilities.reshape(6, 12, 2, 2).mean(axis=2)
    assert found.probabilities == pytest.approx(mean)
    assert np.array_equal(found.folds, item.folds[:, ::2])
    assert found.probabilities.sum(axis=2) == pytest.approx(np.ones((6, 12)))


def test_eyes_need_to_be_known():
    item = predictions()
    assert aggregate(item, "image") is item
    assert aggregate(item, "eye") is None
    eyes = np.array(["left", "left"] * 40, object)
    found = aggregate(predictions(attributes={"eye": eyes}), "eye")
    assert len(found.labels) == 40
    eyes[3] = None
    assert aggregate(predictions(attributes={"eye": eyes}), "eye") is None
