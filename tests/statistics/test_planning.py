import numpy as np
import pytest

from retfm_dist.statistics.auroc import auroc
from retfm_dist.statistics.planning import AUROC, auroc_error, smallest_margin


@pytest.mark.parametrize(
    ("sizes", "error", "margin"),
    [((54, 115), 0.031, 0.090), ((100, 400), 0.022, 0.059), ((500, 2000), 0.010, 0.027)],
)
def test_errors_and_margins_are_those_of_an_earlier_simulation(sizes, error, margin):
    assert auroc_error(*sizes) == pytest.approx(error, rel=0.12)
    assert smallest_margin(*sizes) == pytest.approx(margin, rel=0.12)


def test_the_error_is_that_of_simulated_scores():
    rng = np.random.default_rng(0)
    labels = np.r_[np.ones(60, int), np.zeros(120, int)]
    effect = np.sqrt(2) * 1.0364  # AUROC 0.85
    values = [auroc(labels, rng.normal(effect * labels)) for _ in range(2000)]
    assert np.mean(values) == pytest.approx(AUROC, abs=0.003)
    assert np.std(values) == pytest.approx(auroc_error(60, 120), rel=0.08)
