"""Discrimination of a score: AUROC and ROC curve, for one or many weightings of the images at once.

Weights are how often an image was drawn by a bootstrap; all ones give the plain metric, which
equals scikit-learn's.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from retfm_dist.statistics.clusters import FloatArray, patient_sums
from retfm_dist.statistics.metric import RankMetric


def weighted_auroc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike) -> FloatArray:
    """Return the area under the ROC curve under each row of weights.

    It is the probability that a positive image scores higher than a negative one, ties counted
    half: sum over positives of (weight below + half the weight tied) / (all pairs).

    Args:
        labels: [N] 1 = positive, 0 = negative.
        scores: [N] higher means more likely positive; finite.
        weights: [B, N] non-negative.

    Returns:
        [B]; NaN where a row gives no weight to positives or none to negatives.

    Source: Hanley and McNeil 1982, doi 10.1148/radiology.143.1.7063747.
    """
    positive = np.asarray(labels, bool)
    order = np.argsort(np.asarray(scores, np.float64), kind="stable")
    sorted_scores = np.asarray(scores, np.float64)[order]
    tie_starts = np.flatnonzero(np.r_[True, sorted_scores[1:] != sorted_scores[:-1]])
    sorted_weights = np.asarray(weights, np.float64)[:, order]
    # [B, G]: weight of either class at each of the G distinct scores, ascending.
    positives = np.add.reduceat(sorted_weights * positive[order], tie_starts, axis=1)
    negatives = np.add.reduceat(sorted_weights * ~positive[order], tie_starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    wins = (positives * (below + 0.5 * negatives)).sum(axis=1)
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve; NaN where one class is absent."""
    return float(weighted_auroc(labels, scores, np.ones((1, np.size(labels))))[0])


def auroc_of_classes(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the AUROC of the second of two classes; of more, the mean of each against the rest.

    Classes that do not occur, or alone do, are left out of the mean.

    Args:
        labels: [N] class, 0 .. C-1.
        probabilities: [N, C].
    """
    labels, scores = np.asarray(labels), np.asarray(probabilities, np.float64)
    classes = [1] if scores.shape[1] == 2 else np.unique(labels).tolist()
    return float(np.mean([auroc(labels == k, scores[:, k]) for k in classes]))


def rank_from_top(scores: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return [N] the order of scores from the highest down, and where in it each tie ends."""
    values = np.asarray(scores, np.float64)
    order = np.argsort(-values, kind="stable")
    descending = values[order]
    return order, np.flatnonzero(np.r_[descending[1:] != descending[:-1], True])


def placements(labels: ArrayLike, scores: ArrayLike) -> FloatArray:
    """Return [N] the share of the other class that each image is on the right side of.

    Their mean over the positives, and over the negatives, is the AUROC.

    Args:
        labels: [N] 1 = positive, 0 = negative; both occur.
        scores: [N].

    Source: DeLong et al. 1988, doi 10.2307/2531595 (components of the AUROC).
    """
    positive, scores = np.asarray(labels, bool), np.asarray(scores, np.float64)
    ranks = rankdata(scores)
    shares = np.empty(len(scores))
    shares[positive] = (ranks[positive] - rankdata(scores[positive])) / (~positive).sum()
    shares[~positive] = 1 - (ranks[~positive] - rankdata(scores[~positive])) / positive.sum()
    return shares


def auroc_metric(labels: ArrayLike, scores: ArrayLike, patients: NDArray) -> RankMetric:
    """Return the AUROC as a function of the patients' weights.

    Args:
        labels: [N] 1 = positive, 0 = negative.
        scores: [N].
        patients: [N] codes 0 .. P-1.
    """
    positive, scores = np.asarray(labels, bool), np.asarray(scores, np.float64)
    return RankMetric(
        patients,
        lambda weights: weighted_auroc(positive, scores, weights),
        lambda: auroc_without_each(positive, scores, patients),
    )


def auroc_without_each(
    labels: NDArray[np.bool_], scores: FloatArray, patients: NDArray
) -> FloatArray:
    """Return [P] the AUROC without each patient; NaN where that leaves one class.

    The pairs that a patient takes part in are those of its positives, those of its negatives, less
    those within it, which would be counted twice.
    """
    num_patients = int(patients.max()) + 1
    num_positive = patient_sums(labels, patients, num_patients)
    num_negative = patient_sums(~labels, patients, num_patients)
    total_positive, total_negative = num_positive.sum(), num_negative.sum()
    if not (total_positive and total_negative):
        return np.full(num_patients, np.nan)
    shares = placements(labels, scores)
    pairs = np.where(labels, total_negative, total_positive)
    wins = patient_sums(shares * pairs, patients, num_patients)
    wins -= _wins_within(labels, scores, patients, num_patients)
    all_wins = (shares * pairs)[labels].sum()
    left = (total_positive - num_positive) * (total_negative - num_negative)
    return np.divide(all_wins - wins, left, out=np.full(num_patients, np.nan), where=left > 0)


def _wins_within(
    labels: NDArray[np.bool_], scores: FloatArray, patients: NDArray, num_patients: int
) -> FloatArray:
    """Return [P] the pairs within each patient that are ranked right, ties counted half."""
    wins = np.zeros(num_patients)
    num_images = np.bincount(patients, minlength=num_patients)
    order = np.argsort(patients, kind="stable")
    for members in np.split(order, np.cumsum(num_images)[:-1]):
        positive = labels[members]
        if positive.any() and not positive.all():
            higher, lower = scores[members][positive], scores[members][~positive]
            gaps = np.sign(higher[:, None] - lower[None, :])
            wins[patients[members[0]]] = ((gaps + 1) / 2).sum()
    return wins


def auroc_within_folds(labels: ArrayLike, scores: ArrayLike, folds: ArrayLike) -> float:
    """Return the AUROC over pairs of images of the same fold.

    Scores of different folds come from different fits. Pooling them makes weak scores look worse
    than they are, because a fold rich in positives was predicted by a fit poor in them.

    Args:
        labels: [N] 1 = positive, 0 = negative.
        scores: [N].
        folds: [N] fold in which each image was predicted.

    Source: Airola et al. 2011, doi 10.1016/j.csda.2010.11.018.
    """
    positive, scores, folds = np.asarray(labels, bool), np.asarray(scores), np.asarray(folds)
    wins = pairs = 0.0
    for fold in np.unique(folds):
        chosen = folds == fold
        num_pairs = float(positive[chosen].sum()) * float((~positive[chosen]).sum())
        if num_pairs:
            wins += num_pairs * auroc(positive[chosen], scores[chosen])
            pairs += num_pairs
    return wins / pairs if pairs else float("nan")


def sensitivity_at(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike, false_positive_rates: ArrayLike
) -> FloatArray:
    """Return the ROC curve's height at given false positive rates, as a step function.

    Args:
        labels: [N] 1 = positive, 0 = negative.
        scores: [N].
        weights: [B, N] non-negative.
        false_positive_rates: [F] in [0, 1].

    Returns:
        [B, F] largest sensitivity whose false positive rate does not exceed the given one; NaN
        where a row gives no weight to one class.
    """
    positive = np.asarray(labels, bool)
    order, tie_ends = rank_from_top(scores)
    sorted_weights = np.asarray(weights, np.float64)[:, order]
    wanted = np.asarray(false_positive_rates, np.float64)
    curves = np.full((len(sorted_weights), len(wanted)), np.nan)
    for row, row_weights in enumerate(sorted_weights):
        hits = np.cumsum(row_weights * positive[order])[tie_ends]
        alarms = np.cumsum(row_weights * ~positive[order])[tie_ends]
        if hits[-1] > 0 and alarms[-1] > 0:
            # The small slack forgives rounding of alarms / alarms[-1], not a whole image.
            last = np.searchsorted(alarms / alarms[-1], wanted + 1e-12, side="right")
            curves[row] = np.r_[0.0, hits / hits[-1]][last]
    return curves


def roc_points(labels: ArrayLike, scores: ArrayLike) -> FloatArray:
    """Return [K, 2] corners (false positive rate, sensitivity) of the ROC curve.

    It runs from (0, 0) to (1, 1). Tied scores make one sloped segment, so that the area under the
    segments is the AUROC.
    """
    positive = np.asarray(labels, bool)
    order, tie_ends = rank_from_top(scores)
    hits = np.cumsum(positive[order])[tie_ends] / positive.sum()
    alarms = np.cumsum(~positive[order])[tie_ends] / (~positive).sum()
    return np.column_stack([np.r_[0.0, alarms], np.r_[0.0, hits]])
