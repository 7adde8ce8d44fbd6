import numpy as np
import pytest

from retfm_dist.statistics.meta import pool_effects


def test_equal_effects_have_no_heterogeneity_and_inverse_variance_weights():
    found = pool_effects(np.array([0.1, 0.1, 0.1]), np.array([0.01, 0.02, 0.03]), alpha=0.05)
    assert (found.value, found.tau2, found.i2) == (pytest.approx(0.1), 0.0, 0.0)


def test_dersimonian_laird_equals_a_direct_computation():
    effects, variances = np.array([0.0, 0.5, 1.0, 0.2]), np.array([0.02, 0.03, 0.05, 0.01])
    w = 1 / variances
    q = (w * (effects - (w * effects).sum() / w.sum()) ** 2).sum()
    tau2 = (q - 3) / (w.sum() - (w**2).sum() / w.sum())
    found = pool_effects(effects, variances, alpha=0.05)
    assert found.tau2 == pytest.approx(tau2)
    w = 1 / (variances + tau2)
    assert found.value == pytest.approx((w * effects).sum() / w.sum())
    assert found.i2 == pytest.approx((q - 3) / q)
    assert found.low < found.value < found.high


def test_a_null_effect_is_rejected_at_most_as_often_as_promised():
    """With five data sets and real heterogeneity; the standard error of 0.05 is 0.01 here."""
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(500):
        variances = rng.uniform(0.0005, 0.003, 5)
        effects = rng.normal(0, np.sqrt(0.001 + variances))
        rejected += pool_effects(effects, variances, alpha=0.05).p <= 0.05
    assert rejected / 500 <= 0.07
