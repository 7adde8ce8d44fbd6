"""Metrics of predicted numbers."""

import numpy as np
from numpy.typing import NDArray

from retfm_dist.statistics.calibration import mean_metric
from retfm_dist.statistics.clusters import FloatArray, patient_sums
from retfm_dist.statistics.metric import AdditiveMetric


def mae_metric(truth: FloatArray, predicted: FloatArray, patients: NDArray) -> AdditiveMetric:
    """Return the mean absolute error, in the unit of the truth; all arguments [N]."""
    return mean_metric(np.abs(predicted - truth), patients)


def r2_metric(truth: FloatArray, predicted: FloatArray, patients: NDArray) -> AdditiveMetric:
    """Return R2 = 1 - residual sum of squares / that around the mean; all arguments [N]."""
    centered = truth - truth.mean()  # keeps digits of large values
    columns = [(predicted - truth) ** 2, centered**2, centered, np.ones(len(truth))]
    sums = patient_sums(np.column_stack(columns), patients, int(patients.max()) + 1)
    return AdditiveMetric(sums, _r2)


def _r2(totals: FloatArray) -> FloatArray:
    count = np.maximum(totals[:, 3], 1e-300)
    spread = totals[:, 1] - totals[:, 2] ** 2 / count
    share = np.divide(totals[:, 0], spread, out=np.full(len(totals), np.nan), where=spread > 0)
    return 1 - share
