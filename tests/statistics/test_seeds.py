import numpy as np
import pytest

from retfm_dist.statistics.auroc import auroc_metric
from retfm_dist.statistics.bootstrap import patient_resamples
from retfm_dist.statistics.seeds import two_level_bootstrap, welch_test


def spread(seed_noise):
    rng = np.random.default_rng(0)
    labels, patients = np.tile([0, 1], 100), np.arange(200)
    base = rng.normal(labels)
    models = [
        [auroc_metric(labels, base + seed_noise * rng.normal(size=200), patients) for _ in range(5)]
        for _ in range(2)
    ]
    draws = patient_resamples(labels, patients, num_resamples=400, seed=0)
    return two_level_bootstrap(*models, draws, seed=1).std()


def test_the_spread_of_the_seeds_widens_the_bootstrap():
    assert spread(0.0) < 1e-12
    assert spread(1.0) > 1.5 * spread(0.3)


def test_welch_needs_two_seeds_that_vary():
    assert welch_test(np.array([0.8]), np.array([0.7])) is None
    assert welch_test(np.full(3, 0.8), np.full(3, 0.7)) is None
    found = welch_test(np.array([0.80, 0.81, 0.79]), np.array([0.70, 0.71, 0.69]))
    assert (found.value, found.p < 0.001) == (pytest.approx(0.1), True)
