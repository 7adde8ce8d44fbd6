"""Average precision: the area under the precision-recall curve as a step function."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retfm_dist.statistics.auroc import rank_from_top
from retfm_dist.statistics.clusters import FloatArray
from retfm_dist.statistics.metric import RankMetric


def weighted_auprc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike) -> FloatArray:
    """Return average precision under each row of weights: sum of (recall step) * precision.

    Args:
        labels: [N] 1 = positive, 0 = negative.
        scores: [N] higher means more likely positive; finite.
        weights: [B, N] non-negative.

    Returns:
        [B]; NaN where a row gives no weight to positives.

    Source: scikit-learn, `average_precision_score`; no interpolation.
    """
    positive = np.asarray(labels, bool)
    order, tie_ends = rank_from_top(scores)
    sorted_weights = np.asarray(weights, np.float64)[:, order]
    # [B, G]: weight at or above each of the G distinct scores, descending.
    hits = np.cumsum(sorted_weights * positive[order], axis=1)[:, tie_ends]
    called = np.cumsum(sorted_weights, axis=1)[:, tie_ends]
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    total = hits[:, -1]
    area = (np.diff(hits, axis=1, prepend=0.0) * precision).sum(axis=1)
    return np.divide(area, total, out=np.full(len(total), np.nan), where=total > 0)


def auprc_metric(labels: ArrayLike, scores: ArrayLike, patients: NDArray) -> RankMetric:
    """Return average precision as a function of the patients' weights.

    Args:
        labels: [N] 1 = positive, 0 = negative.
        scores: [N].
        patients: [N] codes 0 .. P-1.
    """
    positive, scores = np.asarray(labels, bool), np.asarray(scores, np.float64)
    return RankMetric(patients, lambda weights: weighted_auprc(positive, scores, weights))


def precision_recall_points(labels: ArrayLike, scores: ArrayLike) -> FloatArray:
    """Return [K, 2] (recall, precision) at each distinct score, from the highest score down."""
    positive = np.asarray(labels, bool)
    order, tie_ends = rank_from_top(scores)
    hits = np.cumsum(positive[order])[tie_ends]
    return np.column_stack([hits / positive.sum(), hits / (tie_ends + 1)])
