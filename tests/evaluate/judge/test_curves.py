import tracemalloc

import numpy as np
import pytest

from retfm_dist.evaluate.judge.curves import (
    trace_net_benefit,
    trace_precision_recall,
    trace_reliability,
    trace_roc,
)
from retfm_dist.statistics.auroc import auroc
from tests.fakes.predictions import fixed_predictions, predictions


def test_the_band_encloses_the_curve_and_can_be_left_out():
    item = predictions()
    curve = trace_roc(item, num_resamples=300, seed=0, alpha=0.05, has_band=True)
    heights = np.interp(curve.rates[20:80], curve.points[:, 0], curve.points[:, 1])
    assert (curve.low[20:80] <= heights + 0.05).all()
    assert (heights - 0.05 <= curve.high[20:80]).all()
    assert (curve.high - curve.low).mean() > 0.02
    bare = trace_roc(item, num_resamples=300, seed=0, alpha=0.05, has_band=False)
    assert bare.low is None
    assert np.array_equal(bare.points, curve.points)


def test_memory_does_not_grow_with_the_number_of_resamples():
    """A whole matrix of 1,000 resamples of 20,000 images has 160 MB."""
    item = fixed_predictions(num_patients=10_000)
    tracemalloc.start()
    try:
        trace_roc(item, num_resamples=1_000, seed=0, alpha=0.05, has_band=True)
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


def test_curves_agree_with_the_numbers_of_their_predictions():
    item = fixed_predictions()
    points = trace_roc(item, num_resamples=100, seed=0, alpha=0.05, has_band=False).points
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(
        auroc(item.labels, item.scores)
    )
    assert trace_precision_recall(item)[-1].tolist() == [1.0, 0.5]
    reliability = trace_reliability(item)
    assert reliability.counts.sum() == 80
    assert (reliability.observed * reliability.counts).sum() == pytest.approx(40)
    benefit = trace_net_benefit(item)
    assert benefit[0, 1:] == pytest.approx([0.5, 0.5], abs=0.01)
    assert benefit[49, 2] == pytest.approx(0.0)
