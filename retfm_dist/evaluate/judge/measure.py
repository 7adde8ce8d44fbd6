"""Metrics of predictions with intervals; the same predictions give the same bytes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.statistics.clusters import code_patients, count_patients
from retfm_dist.statistics.estimate import Estimate, estimate
from retfm_dist.statistics.intervals import Interval, no_interval
from retfm_dist.statistics.student import Student
from retfm_dist.statistics.suite import (
    HAS_NO_DIRECTION,
    LOWER_IS_BETTER,
    Measurement,
    base_name,
    measure_classes,
    measure_numbers,
    scale_of,
)

_DIGITS = 10
"""Decimals kept in JSON and CSV: beyond them lies the rounding of sums."""
_SCALE_TITLES = {
    "share": "Wilson at the effective number of images",
    "unit": "symmetric in log odds",
    "correlation": "symmetric in atanh",
    "positive": "symmetric in logarithm",
    "plain": "symmetric",
}


@dataclass(frozen=True)
class Scored:
    """A metric with its interval.

    Attributes:
        value: Mean over replicates; NaN where the metric is undefined.
        interval: Its interval, or why there is none.
        method: How the interval was made, in words.
        num_images: Images judged.
        num_patients: Their patients.
        variance: Of the value; None where it is not known.
        rarest: Patients of the rarest class that the metric needs.
        reference: What its error is held against; None where it is not known.
    """

    value: float
    interval: Interval
    method: str
    num_images: int
    num_patients: int
    variance: float | None
    rarest: int
    reference: Student | None


def keep_images(predictions: Predictions, kept: NDArray) -> Predictions:
    """Return the predictions of the images where `kept` [N] is true."""
    return replace(
        predictions,
        uids=predictions.uids[kept],
        subject_ids=predictions.subject_ids[kept],
        labels=predictions.labels[kept],
        probabilities=predictions.probabilities[:, kept],
        folds=None if predictions.folds is None else predictions.folds[:, kept],
        splits=None if predictions.splits is None else predictions.splits[kept],
        attributes={name: values[kept] for name, values in predictions.attributes.items()},
    )


def measure_replicates(
    predictions: Predictions, thresholds: Mapping[str, float] | None = None
) -> list[dict[str, Measurement]]:
    """Measure every replicate.

    Args:
        predictions: At least two classes occur among its labels, or it is a regression.
        thresholds: Operating points by name, chosen on other images.
    """
    patients = code_patients(predictions.subject_ids)
    measured = []
    for index, probabilities in enumerate(predictions.probabilities):
        if predictions.num_classes == 1:
            measured.append(measure_numbers(predictions.labels, probabilities[:, 0], patients))
        else:
            folds = None if predictions.folds is None else predictions.folds[index]
            measured.append(
                measure_classes(
                    predictions.labels, probabilities, patients, folds=folds, thresholds=thresholds
                )
            )
    return measured


def combine(
    predictions: Predictions, measured: list[dict[str, Measurement]], name: str
) -> Estimate | None:
    """Return the estimate of one metric over the replicates; None where it has no error."""
    influences = [item[name].influence for item in measured]
    given = [influence for influence in influences if influence is not None]
    if len(given) < len(influences):
        return None
    values = np.array([item[name].value for item in measured])
    return estimate(values, np.array(given), predictions.design)


def score(
    predictions: Predictions, *, alpha: float, thresholds: Mapping[str, float] | None = None
) -> dict[str, Scored]:
    """Return every metric with its interval, by name.

    Args:
        predictions: As in `measure_replicates`.
        alpha: 1 - coverage.
        thresholds: Likewise.
    """
    measured = measure_replicates(predictions, thresholds)
    num_patients = len(np.unique(predictions.subject_ids))
    scored = {}
    for name, first in measured[0].items():
        combined = combine(predictions, measured, name)
        if combined is None:
            value = float(np.mean([item[name].value for item in measured]))
            interval = no_interval("no interval was found that covers the truth near 0")
        else:
            value = combined.value
            interval = combined.interval(
                scale=scale_of(name), num_patients=first.num_patients, alpha=alpha
            )
        scored[name] = Scored(
            value,
            interval,
            method_text(predictions, name, alpha=alpha) if interval.low is not None else "",
            len(predictions.labels),
            num_patients,
            None if combined is None else combined.variance,
            first.num_patients,
            None if combined is None else combined.reference(max(first.num_patients, 2)),
        )
    return scored


def method_text(predictions: Predictions, name: str, *, alpha: float) -> str:
    """Return how the interval of a metric is made."""
    counted = predictions.design.describe(predictions.num_replicates)
    return (
        f"patient-clustered jackknife, {_SCALE_TITLES[scale_of(name)]}, Student's t, "
        f"{100 * (1 - alpha):g} %; counts {counted}"
    )


def direction_of(name: str) -> str:
    """Return "higher", "lower" or "none": which values of the metric are better."""
    base = base_name(name)
    if base in HAS_NO_DIRECTION:
        return "none"
    return "lower" if base in LOWER_IS_BETTER else "higher"


def scored_json(scored: Mapping[str, Scored], predictions: Predictions) -> dict[str, Any]:
    """Return metrics as JSON values."""
    sizes: dict[str, int] = {}
    if predictions.num_classes == 2:
        by_class = count_patients(predictions.labels, code_patients(predictions.subject_ids))
        sizes = {
            "n_positive_patients": by_class.positive,
            "n_negative_patients": by_class.negative,
        }
    return {
        name: {
            "value": rounded(item.value),
            "lo": rounded(item.interval.low),
            "hi": rounded(item.interval.high),
            "method": item.method,
            "note": item.interval.note,
            "better": direction_of(name),
            "n_images": item.num_images,
            "n_patients": item.num_patients,
            **sizes,
        }
        for name, item in scored.items()
    }


def rounded(value: float | None) -> float | None:
    """Return a number as files hold it; None where it is undefined."""
    return None if value is None or not math.isfinite(value) else round(value, _DIGITS)
