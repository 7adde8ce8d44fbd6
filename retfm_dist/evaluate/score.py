"""Metrics of predictions; the same predictions give the same bytes of metrics.json."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from retfm_dist.evaluate.config import BootstrapConfig
from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.statistics.auroc import (
    FloatArray,
    auroc,
    auroc_within_folds,
    roc_points,
)
from retfm_dist.statistics.bootstrap import (
    Interval,
    PatientCounts,
    bootstrap_auroc,
    bootstrap_sensitivity,
    code_patients,
    count_patients,
    patient_resamples,
    percentile_interval,
    seed_for,
)

_DIGITS = 10
"""Decimals kept in metrics.json: beyond them lies the rounding of sums."""
_BAND_RATES = 101


@dataclass(frozen=True)
class Score:
    """AUROC of one set of predictions, with interval and sizes.

    Attributes:
        model: Id of the model.
        task: Id of the task.
        protocol: Id of the protocol.
        value: AUROC over all images, folds pooled.
        within_folds: AUROC over pairs of images of the same fold.
        interval: Of `value`, from resampled patients.
        num_images: Images scored.
        patients: Patients by class.
        num_resamples: Resamples behind the interval.
        fits: Facts of the fit of each fold.
    """

    model: str
    task: str
    protocol: str
    value: float
    within_folds: float
    interval: Interval
    num_images: int
    patients: PatientCounts
    num_resamples: int
    fits: tuple[dict[str, Any], ...]

    @property
    def num_patients(self) -> int:
        """Number of patients scored."""
        return self.patients.positive + self.patients.negative


@dataclass(frozen=True)
class RocCurve:
    """A ROC curve with its bootstrap band.

    Attributes:
        points: [K, 2] corners, false positive rate and sensitivity.
        rates: [F] false positive rates of the band.
        low: [F] lower bound of the sensitivity at each rate; None without an interval.
        high: [F] upper bound, likewise.
    """

    points: FloatArray
    rates: FloatArray
    low: FloatArray | None
    high: FloatArray | None


def score_predictions(predictions: Predictions, *, bootstrap: BootstrapConfig, seed: int) -> Score:
    """Return AUROC and interval of one set of predictions.

    All models of a task share the same resamples, whatever their patients are called.
    """
    patients = code_patients(predictions.subject_ids)
    counts = count_patients(predictions.labels, patients)
    draws = _draws(predictions, bootstrap=bootstrap, seed=seed)
    values = bootstrap_auroc(predictions.labels, predictions.scores, patients, draws)
    return Score(
        model=predictions.model,
        task=predictions.task,
        protocol=predictions.protocol,
        value=auroc(predictions.labels, predictions.scores),
        within_folds=auroc_within_folds(predictions.labels, predictions.scores, predictions.folds),
        interval=percentile_interval(values, counts, alpha=bootstrap.alpha),
        num_images=len(predictions.labels),
        patients=counts,
        num_resamples=bootstrap.num_resamples,
        fits=predictions.fits,
    )


def trace_roc(
    predictions: Predictions, score: Score, *, bootstrap: BootstrapConfig, seed: int
) -> RocCurve:
    """Return the ROC curve; with a pointwise band where the AUROC has an interval."""
    points = roc_points(predictions.labels, predictions.scores)
    rates = np.linspace(0, 1, _BAND_RATES)
    if score.interval.low is None:
        return RocCurve(points, rates, None, None)
    draws = _draws(predictions, bootstrap=bootstrap, seed=seed)
    curves = bootstrap_sensitivity(
        predictions.labels,
        predictions.scores,
        code_patients(predictions.subject_ids),
        draws,
        false_positive_rates=rates,
    )
    low, high = np.nanquantile(curves, [bootstrap.alpha / 2, 1 - bootstrap.alpha / 2], axis=0)
    return RocCurve(points, rates, low, high)


def metrics_json(scores: list[Score], *, bootstrap: BootstrapConfig) -> dict[str, Any]:
    """Return the content of metrics.json, one entry per model, task and protocol."""
    method = (
        f"patient-cluster bootstrap, stratified by the patient's largest label, percentile, "
        f"B = {bootstrap.num_resamples}, {1 - bootstrap.alpha:.0%}"
    )
    return {
        "schema": "retfm-metrics/1",
        "results": [
            {
                "model": score.model,
                "task": score.task,
                "protocol": score.protocol,
                "metrics": {
                    "auroc": {
                        "value": _rounded(score.value),
                        "lo": _rounded(score.interval.low),
                        "hi": _rounded(score.interval.high),
                        "method": method,
                        "note": score.interval.note,
                        "num_degenerate_resamples": score.interval.num_degenerate,
                        **_sizes(score),
                    },
                    "auroc_within_folds": {
                        "value": _rounded(score.within_folds),
                        "lo": None,
                        "hi": None,
                        "method": "pairs of images predicted in the same fold",
                        "note": "",
                        **_sizes(score),
                    },
                },
                "fits": list(score.fits),
            }
            for score in scores
        ],
    }


def _sizes(score: Score) -> dict[str, int]:
    return {
        "n_images": score.num_images,
        "n_patients": score.num_patients,
        "n_positive_patients": score.patients.positive,
        "n_negative_patients": score.patients.negative,
    }


def _draws(predictions: Predictions, *, bootstrap: BootstrapConfig, seed: int) -> np.ndarray:
    return patient_resamples(
        predictions.labels,
        code_patients(predictions.subject_ids),
        num_resamples=bootstrap.num_resamples,
        seed=seed_for(seed, predictions.task, "auroc"),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(value, _DIGITS)
