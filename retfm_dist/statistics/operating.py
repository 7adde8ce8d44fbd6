"""Operating points: a threshold chosen on validation images, applied unchanged to test images."""

import numpy as np
from numpy.typing import ArrayLike

from retfm_dist.statistics.auroc import FloatArray


def choose_threshold(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    specificity: float | None = None,
    sensitivity: float | None = None,
) -> float:
    """Return the threshold t at which calling every score >= t positive meets a demand.

    With `specificity`, the smallest observed score that reaches it (the highest sensitivity);
    with `sensitivity`, the largest that reaches it. The ROC curve is a step function: nothing is
    interpolated, and tied scores are called together.

    Args:
        labels: [N] 1 = positive, 0 = negative; both occur.
        scores: [N].
        specificity: Smallest share of negatives below the threshold.
        sensitivity: Smallest share of positives at or above it.

    Returns:
        The threshold; inf where only calling nothing positive meets the demand.
    """
    assert (specificity is None) != (sensitivity is None), "one demand"
    positive, scores = np.asarray(labels, bool), np.asarray(scores, np.float64)
    candidates = np.unique(scores)
    # The slack forgives the rounding of a share, not a whole image.
    if specificity is not None:
        below = np.searchsorted(np.sort(scores[~positive]), candidates, side="left")
        fits = below / (~positive).sum() >= specificity - 1e-12
        return float(candidates[fits][0]) if fits.any() else float("inf")
    assert sensitivity is not None
    missed = np.searchsorted(np.sort(scores[positive]), candidates, side="left")
    fits = 1 - missed / positive.sum() >= sensitivity - 1e-12
    return float(candidates[fits][-1])


def net_benefit(labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike) -> FloatArray:
    """Return [T] net benefit of treating whoever reaches each threshold probability.

    TP / N - FP / N * t / (1 - t).

    Args:
        labels: [N] 1 = positive, 0 = negative.
        probabilities: [N].
        thresholds: [T] in (0, 1).

    Source: Vickers and Elkin 2006, doi 10.1177/0272989X06295361.
    """
    positive, chosen = np.asarray(labels, bool), np.asarray(thresholds, np.float64)
    called = np.asarray(probabilities)[None, :] >= chosen[:, None]
    hits = (called & positive).mean(axis=1)
    alarms = (called & ~positive).mean(axis=1)
    return hits - alarms * chosen / (1 - chosen)
