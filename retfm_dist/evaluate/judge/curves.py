"""Curves of binary predictions: ROC with its band, precision-recall, reliability, net benefit."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.statistics.auroc import roc_points, sensitivity_at
from retfm_dist.statistics.bootstrap import patient_resamples_in_parts
from retfm_dist.statistics.calibration import calibration_bins
from retfm_dist.statistics.clusters import FloatArray, code_patients
from retfm_dist.statistics.operating import net_benefit
from retfm_dist.statistics.precision import precision_recall_points

_BAND_RATES = 101
_PART_VALUES = 1_000_000
_RELIABILITY_BINS = 10


@dataclass(frozen=True)
class RocCurve:
    """A ROC curve with its bootstrap band.

    Attributes:
        points: [K, 2] corners, false positive rate and sensitivity.
        rates: [F] false positive rates of the band.
        low: [F] lower bound of the sensitivity at each rate; None without a band.
        high: [F] upper bound, likewise.
    """

    points: FloatArray
    rates: FloatArray
    low: FloatArray | None
    high: FloatArray | None


@dataclass(frozen=True)
class Reliability:
    """Observed against predicted risk in bins of equal size.

    Attributes:
        predicted: [K] mean prediction of each bin.
        observed: [K] share of positives in it.
        counts: [K] images in it.
    """

    predicted: FloatArray
    observed: FloatArray
    counts: NDArray


def against_rest(predictions: Predictions, label: int) -> Predictions:
    """Return the binary predictions of one class against all others; of the second of two: all."""
    if predictions.num_classes == 2 and label == 1:
        return predictions
    share = predictions.probabilities[:, :, label]
    return replace(
        predictions,
        labels=(predictions.labels == label).astype(np.int64),
        probabilities=np.stack([1 - share, share], axis=-1),
    )


def trace_roc(
    predictions: Predictions, *, num_resamples: int, seed: int, alpha: float, has_band: bool
) -> RocCurve:
    """Return the ROC curve of the mean scores, with a pointwise band over resampled patients.

    The band counts the sampling of these patients alone.
    """
    labels, scores = predictions.labels, predictions.scores
    points, rates = roc_points(labels, scores), np.linspace(0, 1, _BAND_RATES)
    if not has_band:
        return RocCurve(points, rates, None, None)
    patients = code_patients(predictions.subject_ids)
    parts = patient_resamples_in_parts(
        labels, patients, num_resamples=num_resamples, seed=seed,
        part_size=max(1, _PART_VALUES // len(patients)),
    )  # fmt: skip
    curves = np.concatenate(
        [sensitivity_at(labels, scores, draws[:, patients], rates) for draws in parts]
    )
    low, high = np.nanquantile(curves, [alpha / 2, 1 - alpha / 2], axis=0)
    return RocCurve(points, rates, low, high)


def trace_precision_recall(predictions: Predictions) -> FloatArray:
    """Return [K, 2] recall and precision of the mean scores."""
    return precision_recall_points(predictions.labels, predictions.scores)


def trace_reliability(predictions: Predictions) -> Reliability:
    """Return observed against predicted risk of the mean scores."""
    bins = calibration_bins(predictions.scores, _RELIABILITY_BINS)
    counts = np.bincount(bins, minlength=_RELIABILITY_BINS)
    used = counts > 0
    return Reliability(
        np.bincount(bins, predictions.scores, _RELIABILITY_BINS)[used] / counts[used],
        np.bincount(bins, predictions.labels, _RELIABILITY_BINS)[used] / counts[used],
        counts[used],
    )


def trace_net_benefit(predictions: Predictions) -> FloatArray:
    """Return [T, 3] threshold, net benefit of the model and of treating everybody."""
    thresholds = np.arange(1, 100) / 100
    model = net_benefit(predictions.labels, predictions.scores, thresholds)
    everybody = net_benefit(predictions.labels, np.ones(len(predictions.labels)), thresholds)
    return np.column_stack([thresholds, model, everybody])
