import numpy as np
import pytest
from sklearn.metrics import r2_score

from retfm_dist.statistics.metric import value_of
from retfm_dist.statistics.regression import mae_metric, r2_metric


def test_large_offsets_lose_no_digits():
    rng = np.random.default_rng(0)
    truth = 1e8 + rng.normal(size=60)
    predicted = truth + 0.5 * rng.normal(size=60)
    found = value_of(r2_metric(truth, predicted, np.arange(60)))
    assert found == pytest.approx(r2_score(truth, predicted), abs=1e-6)


def test_a_constant_truth_has_no_r2_and_an_error_has_the_unit_of_the_truth():
    truth = np.full(6, 2.0)
    assert np.isnan(value_of(r2_metric(truth, truth + 1, np.arange(6))))
    assert value_of(mae_metric(truth, truth + np.array([1, -1, 2, -2, 3, -3]), np.arange(6))) == 2.0
