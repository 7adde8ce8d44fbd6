import numpy as np
import pytest
from scipy.stats import false_discovery_control

from retfm_dist.statistics.multiplicity import adjust, benjamini_hochberg, holm


def test_holm_equals_the_worked_example():
    """p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") in R."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_never_exceeds_one_nor_falls_below_the_raw_values():
    p = np.random.default_rng(0).uniform(size=50)
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= 1).all()
    assert len(holm(np.array([]))) == 0


def test_benjamini_hochberg_equals_scipy_and_takes_nothing():
    p = np.random.default_rng(0).uniform(size=20)
    assert np.array_equal(benjamini_hochberg(p), false_discovery_control(p))
    assert len(benjamini_hochberg(np.array([]))) == 0


@pytest.mark.parametrize("method", [holm, benjamini_hochberg])
def test_what_was_not_tested_does_not_count(method):
    known = method(np.array([0.01, 0.04, 0.03])).tolist()
    assert adjust([0.01, None, 0.04, 0.03, None], method) == [known[0], None, *known[1:], None]
    assert adjust([None], method) == [None]
    assert adjust([], method) == []
