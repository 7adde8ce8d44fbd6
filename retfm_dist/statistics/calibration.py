"""Calibration: whether 30 % means three in ten."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retfm_dist.statistics.clusters import FloatArray, patient_sums
from retfm_dist.statistics.metric import AdditiveMetric

NUM_BINS = 15
_CLIP = 1e-6
"""Probabilities nearer to 0 or 1 than this are moved here before their logit is taken."""
_MAX_NEWTON_STEPS = 50
_LARGEST_SLOPE = 1e3


def brier_metric(labels: NDArray, probabilities: FloatArray, patients: NDArray) -> AdditiveMetric:
    """Return the Brier score: mean (p - y)^2; of more than two classes summed over them.

    Args:
        labels: [N] true class, 0 .. C-1.
        probabilities: [N, C].
        patients: [N] codes 0 .. P-1.

    Source: Brier 1950, doi 10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2; halved for two
        classes, as is usual there.
    """
    truth = np.eye(probabilities.shape[1])[labels]
    losses = ((probabilities - truth) ** 2).sum(axis=1)
    losses /= 2 if probabilities.shape[1] == 2 else 1
    return mean_metric(losses, patients)


def mean_metric(values: FloatArray, patients: NDArray) -> AdditiveMetric:
    """Return the mean over images of [N] values as a function of the patients' weights."""
    sums = patient_sums(
        np.column_stack([values, np.ones(len(values))]), patients, int(patients.max()) + 1
    )
    return AdditiveMetric(
        sums, lambda t: np.divide(t[:, 0], t[:, 1], out=np.full(len(t), np.nan), where=t[:, 1] > 0)
    )


def calibration_bins(confidence: FloatArray, num_bins: int = NUM_BINS) -> NDArray:
    """Return [N] the bin of each image: bins of nearly equal size, equal values in one bin."""
    order = np.argsort(confidence, kind="stable")
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    bins = ranks * num_bins // len(order)
    _, first, inverse = np.unique(confidence, return_index=True, return_inverse=True)
    lowest = np.full(len(first), num_bins)
    np.minimum.at(lowest, inverse, bins)
    return lowest[inverse]


def ece_debiased(hits: NDArray, confidence: FloatArray) -> float:
    """Return the root mean squared calibration error without the part that chance adds.

    sqrt(max(0, sum over bins of n_b / N * ((hit rate - mean confidence)^2 - variance of the hit
    rate))). The plain error of a perfectly calibrated model is above 0, the more the fewer images.

    Args:
        hits: [N] 1 = the event happened.
        confidence: [N] its predicted probability.

    Returns:
        NaN where no bin holds two images.

    Source: Kumar et al. 2019, arXiv:1909.10155, section 5; 15 bins of equal size.
    """
    bins = calibration_bins(confidence)
    size = np.bincount(bins, minlength=NUM_BINS).astype(float)
    used = size > 1  # a bin of one image has no variance to subtract
    if not used.any():
        return float("nan")
    rate = np.bincount(bins, hits, NUM_BINS)[used] / size[used]
    mean = np.bincount(bins, confidence, NUM_BINS)[used] / size[used]
    squares = (rate - mean) ** 2 - rate * (1 - rate) / (size[used] - 1)
    return float(np.sqrt(max(0.0, (size[used] * squares).sum() / size[used].sum())))


@dataclass(frozen=True)
class Recalibration:
    """A logistic regression of the truth on the logit of the prediction.

    Attributes:
        intercept: Calibration in the large: log odds by which predictions are too low on
            average, the slope held at 1; 0 is right.
        slope: 1 is right, below 1 predictions are too extreme.
        intercept_influence: [P] influence of each patient on the intercept.
        slope_influence: [P] on the slope.
    """

    intercept: float
    slope: float
    intercept_influence: FloatArray
    slope_influence: FloatArray


def recalibrate(
    labels: NDArray, probabilities: FloatArray, patients: NDArray
) -> Recalibration | None:
    """Fit calibration intercept and slope; None where the fit has no finite optimum.

    Args:
        labels: [N] 1 = positive, 0 = negative.
        probabilities: [N] predicted probability of the positive class.
        patients: [N] codes 0 .. P-1.

    Source: Van Calster et al. 2019, doi 10.1186/s12916-019-1466-7; variances by the clustered
        sandwich, Liang and Zeger 1986, doi 10.1093/biomet/73.1.13.
    """
    clipped = probabilities.clip(_CLIP, 1 - _CLIP)
    logits = np.log(clipped / (1 - clipped))
    ones = np.ones((len(logits), 1))
    large = _fit_logistic(ones, labels, patients, offset=logits)
    both = _fit_logistic(np.column_stack([ones, logits]), labels, patients, offset=0.0)
    if large is None or both is None:
        return None
    return Recalibration(float(large[0][0]), float(both[0][1]), large[1][:, 0], both[1][:, 1])


def _fit_logistic(
    design: FloatArray, labels: NDArray, patients: NDArray, *, offset: FloatArray | float
) -> tuple[FloatArray, FloatArray] | None:
    """Return [K] coefficients and [P, K] influences by Newton's method; None if it diverges."""
    coefficients = np.zeros(design.shape[1])
    for _ in range(_MAX_NEWTON_STEPS):
        means = 1 / (1 + np.exp(-np.clip(design @ coefficients + offset, -500, 500)))
        curvature = design.T @ (design * (means * (1 - means))[:, None])
        if np.linalg.cond(curvature) > 1e12 or np.abs(coefficients).max() > _LARGEST_SLOPE:
            return None
        step = np.linalg.solve(curvature, design.T @ (labels - means))
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-12 * max(1.0, np.abs(coefficients).max()):
            break
    else:
        return None
    scores = patient_sums(design * (labels - means)[:, None], patients, int(patients.max()) + 1)
    small_sample = np.sqrt(len(scores) / (len(scores) - 1))
    return coefficients, small_sample * np.linalg.solve(curvature, scores.T).T
