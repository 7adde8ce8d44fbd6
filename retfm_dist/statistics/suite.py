"""All metrics of one set of predictions, with the influence of each patient on each.

auroc               binary; of more classes the mean of one-against-the-rest AUROCs
auroc_K             class K against the rest, more than two classes only
auprc               average precision; of more classes the mean over those that occur
accuracy balanced_accuracy f1 mcc kappa_quadratic     of the most probable class
brier ece_debiased  calibration; ece_debiased has no interval
calibration_slope calibration_intercept               binary only
sensitivity_at_NAME specificity_at_NAME               binary, at thresholds from validation
mae r2              predicted numbers
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retfm_dist.statistics.auroc import auroc, auroc_metric, auroc_within_folds
from retfm_dist.statistics.calibration import brier_metric, ece_debiased, recalibrate
from retfm_dist.statistics.classification import (
    DECISION_METRICS,
    decision_metric,
    sensitivity,
    specificity,
)
from retfm_dist.statistics.clusters import FloatArray, fewest_patients
from retfm_dist.statistics.intervals import Scale
from retfm_dist.statistics.metric import Metric, value_of
from retfm_dist.statistics.precision import auprc_metric
from retfm_dist.statistics.regression import mae_metric, r2_metric

SCALES: Mapping[str, Scale] = {
    "auroc": "unit",
    "auprc": "unit",
    "accuracy": "share",
    "balanced_accuracy": "unit",
    "f1": "unit",
    "mcc": "correlation",
    "kappa_quadratic": "correlation",
    "brier": "positive",
    "ece_debiased": "positive",
    "calibration_slope": "plain",
    "calibration_intercept": "plain",
    "sensitivity": "share",
    "specificity": "share",
    "mae": "positive",
    "r2": "plain",
}
LOWER_IS_BETTER = frozenset({"brier", "ece_debiased", "mae"})
HAS_NO_DIRECTION = frozenset({"calibration_slope", "calibration_intercept"})
"""1 and 0 are right; neither more nor less is better."""


@dataclass(frozen=True)
class Measurement:
    """A metric of one replicate.

    Attributes:
        value: The metric; NaN where it is undefined.
        influence: [P] of each patient; None where no interval can be given.
        num_patients: Patients of the rarest class it needs.
    """

    value: float
    influence: FloatArray | None
    num_patients: int


def scale_of(name: str) -> Scale:
    """Return the range of a metric of this module."""
    return SCALES[base_name(name)]


def base_name(name: str) -> str:
    """Return a metric's name without its class or threshold."""
    return next(base for base in sorted(SCALES, key=len, reverse=True) if name.startswith(base))


def measure_classes(
    labels: NDArray,
    probabilities: FloatArray,
    patients: NDArray,
    *,
    folds: NDArray | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> dict[str, Measurement]:
    """Measure one replicate of predicted classes.

    Args:
        labels: [N] true class, 0 .. C-1; at least two occur.
        probabilities: [N, C].
        patients: [N] codes 0 .. P-1, all of which occur.
        folds: [N] fold in which each image was predicted. Then AUROCs are over pairs of images of
            the same fold, for scores of different fits are not on one scale.
        thresholds: Operating points by name, chosen on other images; two classes only.
    """
    rarest = fewest_patients(labels, patients)
    measured = dict(_ranking(labels, probabilities, patients, folds))
    decisions = probabilities.argmax(axis=1)
    num_classes = probabilities.shape[1]
    for name, function in DECISION_METRICS.items():
        metric = decision_metric(function, labels, decisions, patients, num_classes=num_classes)
        measured[name] = _measure(metric, rarest if name != "accuracy" else metric.num_patients)
    brier = brier_metric(labels, probabilities, patients)
    measured["brier"] = _measure(brier, brier.num_patients)
    confidence = probabilities[:, 1] if num_classes == 2 else probabilities.max(axis=1)
    hits = labels if num_classes == 2 else (decisions == labels).astype(int)
    measured["ece_debiased"] = Measurement(ece_debiased(hits, confidence), None, rarest)
    if num_classes == 2:
        measured |= _calibration(labels, probabilities[:, 1], patients, rarest)
        for name, threshold in (thresholds or {}).items():
            called = (probabilities[:, 1] >= threshold).astype(np.int64)
            measured |= _operating_point(labels, called, patients, name)
    return measured


def measure_numbers(
    truth: FloatArray, predicted: FloatArray, patients: NDArray
) -> dict[str, Measurement]:
    """Measure one replicate of predicted numbers; all arguments [N]."""
    metrics = {
        "mae": mae_metric(truth, predicted, patients),
        "r2": r2_metric(truth, predicted, patients),
    }
    return {name: _measure(metric, metric.num_patients) for name, metric in metrics.items()}


def _measure(metric: Metric, num_patients: int) -> Measurement:
    return Measurement(value_of(metric), metric.influence(), num_patients)


def _ranking(
    labels: NDArray, probabilities: FloatArray, patients: NDArray, folds: NDArray | None
) -> Iterator[tuple[str, Measurement]]:
    """Yield AUROC and average precision, of each class and on average."""
    occurring = np.unique(labels)
    classes = [1] if probabilities.shape[1] == 2 else occurring.tolist()
    areas, precisions = [], []
    for k in classes:
        positive = (labels == k).astype(np.int64)
        areas.append(measure_auroc(positive, probabilities[:, k], patients, folds=folds))
        metric = auprc_metric(positive, probabilities[:, k], patients)
        precisions.append(_measure(metric, fewest_patients(positive, patients)))
    yield "auroc", _mean(areas)
    if len(classes) > 1:
        yield from ((f"auroc_{k}", area) for k, area in zip(classes, areas, strict=True))
    yield "auprc", _mean(precisions)


def measure_auroc(
    labels: NDArray, scores: FloatArray, patients: NDArray, *, folds: NDArray | None = None
) -> Measurement:
    """Measure the AUROC of one replicate; arguments as in `measure_classes`, `labels` 0 or 1."""
    rarest = fewest_patients(labels, patients) if labels.min() != labels.max() else 0
    if folds is None:
        metric = auroc_metric(labels, scores, patients)
        return Measurement(auroc(labels, scores), metric.influence(), rarest)
    # Within a fold this keeps the order; between folds it makes scores comparable, so that an
    # image's influence does not hang on the few others of its fold.
    metric = auroc_metric(labels, standardize_within(scores, folds), patients)
    return Measurement(auroc_within_folds(labels, scores, folds), metric.influence(), rarest)


def standardize_within(scores: FloatArray, folds: NDArray) -> FloatArray:
    """Return [N] scores in standard deviations from the mean of their fold; both arguments [N]."""
    standardized = np.empty(len(scores))
    for fold in np.unique(folds):
        inside = folds == fold
        spread = scores[inside].std()
        standardized[inside] = (scores[inside] - scores[inside].mean()) / (spread or 1.0)
    return standardized


def _mean(measured: list[Measurement]) -> Measurement:
    influences = [item.influence for item in measured if item.influence is not None]
    return Measurement(
        float(np.mean([item.value for item in measured])),
        np.mean(influences, axis=0),
        min(item.num_patients for item in measured),
    )


def _calibration(
    labels: NDArray, scores: FloatArray, patients: NDArray, rarest: int
) -> dict[str, Measurement]:
    fitted = recalibrate(labels, scores, patients)
    if fitted is None:
        missing = Measurement(float("nan"), np.full(patients.max() + 1, np.nan), rarest)
        return {"calibration_slope": missing, "calibration_intercept": missing}
    return {
        "calibration_slope": Measurement(fitted.slope, fitted.slope_influence, rarest),
        "calibration_intercept": Measurement(fitted.intercept, fitted.intercept_influence, rarest),
    }


def _operating_point(
    labels: NDArray, called: NDArray, patients: NDArray, name: str
) -> dict[str, Measurement]:
    measured = {}
    for prefix, function, label in (
        ("sensitivity", sensitivity, 1),
        ("specificity", specificity, 0),
    ):
        metric = decision_metric(function, labels, called, patients, num_classes=2)
        num_patients = len(np.unique(patients[labels == label]))
        measured[f"{prefix}_at_{name}"] = _measure(metric, num_patients)
    return measured
