import numpy as np
import pytest

from retfm_dist.statistics.classification import (
    DECISION_METRICS,
    balanced_accuracy,
    kappa_quadratic,
    mcc,
    sensitivity,
    specificity,
)


def test_a_worked_example():
    """Fleiss 1981's kind of table: 20 of 25 negatives and 15 of 20 positives decided right."""
    confusion = np.array([[[20.0, 5.0], [5.0, 15.0]]])
    assert sensitivity(confusion)[0] == 0.75
    assert specificity(confusion)[0] == 0.8
    assert balanced_accuracy(confusion)[0] == pytest.approx(0.775)
    assert mcc(confusion)[0] == pytest.approx((20 * 15 - 25) / 500)


def test_constant_decisions_have_no_correlation_and_perfect_ones_have_kappa_one():
    assert mcc(np.array([[[10.0, 0.0], [5.0, 0.0]]]))[0] == 0.0
    assert kappa_quadratic(np.diag([4.0, 5.0, 6.0])[None])[0] == 1.0
    assert np.isnan(kappa_quadratic(np.diag([4.0, 0.0])[None])[0])


def test_an_empty_matrix_is_undefined_not_an_error():
    for name, function in DECISION_METRICS.items():
        value = function(np.zeros((1, 2, 2)))[0]
        assert np.isnan(value) or value == 0.0, name
