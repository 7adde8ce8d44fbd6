"""Patient-level bootstrap, because two eyes of a patient are not independent.

Source: Davison and Hinkley 1997, Bootstrap Methods and their Application (stratified and cluster
resampling, percentile interval); for eyes Ying et al. 2021, PMC8586066.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retfm_dist.statistics.auroc import FloatArray, sensitivity_at, weighted_auroc

MIN_PATIENTS_PER_CLASS = 10
"""Fewer positive or negative patients than this make an interval misleading; none is given."""
MAX_DEGENERATE_RATIO = 0.05
"""Largest share of resamples without a value that an interval tolerates."""
_CHUNK_VALUES = 4_000_000
"""Weights held in memory at once: 32 MB."""


@dataclass(frozen=True)
class Interval:
    """A percentile interval.

    Attributes:
        low: Lower bound; None when there are too few patients for one.
        high: Upper bound, likewise.
        num_degenerate: Resamples in which one class was absent, out of all.
        note: Why there is no interval; empty when there is one.
    """

    low: float | None
    high: float | None
    num_degenerate: int
    note: str = ""


@dataclass(frozen=True)
class PatientCounts:
    """Patients by their most severe image.

    Attributes:
        positive: Patients with at least one positive image.
        negative: Patients whose images are all negative.
    """

    positive: int
    negative: int


def patient_labels(labels: NDArray, patients: NDArray) -> NDArray:
    """Return [P] the largest label of each patient.

    Args:
        labels: [N] 1 = positive, 0 = negative.
        patients: [N] codes 0 .. P-1, all of which occur.
    """
    largest = np.zeros(patients.max() + 1, np.int64)
    np.maximum.at(largest, patients, labels)
    return largest


def count_patients(labels: NDArray, patients: NDArray) -> PatientCounts:
    """Count patients by their largest label."""
    largest = patient_labels(labels, patients)
    return PatientCounts(positive=int(largest.sum()), negative=int((1 - largest).sum()))


def code_patients(subject_ids: NDArray) -> NDArray:
    """Return codes 0 .. P-1 in order of first appearance.

    Results that depend on the codes therefore do not depend on how patients are named.
    """
    _, first, inverse = np.unique(subject_ids, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def seed_for(seed: int, *names: str) -> int:
    """Derive one seed per purpose, so that adding a task does not change the others."""
    digest = hashlib.sha256("/".join([str(seed), *names]).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def patient_resamples(
    labels: NDArray, patients: NDArray, *, num_resamples: int, seed: int
) -> NDArray[np.int32]:
    """Draw patients with replacement, within the positive and within the negative ones.

    Args:
        labels: [N] 1 = positive, 0 = negative.
        patients: [N] codes 0 .. P-1.
        num_resamples: B.
        seed: Of this resampling alone.

    Returns:
        [B, P] how often each patient was drawn.
    """
    largest = patient_labels(labels, patients)
    draws = np.zeros((num_resamples, len(largest)), np.int32)
    generator = np.random.default_rng(seed)
    for label in (0, 1):
        members = np.flatnonzero(largest == label)
        if len(members):
            even = np.full(len(members), 1 / len(members))
            draws[:, members] = generator.multinomial(len(members), even, size=num_resamples)
    return draws


def bootstrap_auroc(
    labels: NDArray, scores: NDArray, patients: NDArray, draws: NDArray[np.int32]
) -> FloatArray:
    """Return [B] the AUROC of each resample; NaN where one class is absent.

    Args:
        labels: [N] 1 = positive, 0 = negative.
        scores: [N].
        patients: [N] codes 0 .. P-1.
        draws: [B, P] from `patient_resamples`.
    """
    return np.concatenate(
        [weighted_auroc(labels, scores, weights) for weights in _image_weights(patients, draws)]
    )


def bootstrap_sensitivity(
    labels: NDArray,
    scores: NDArray,
    patients: NDArray,
    draws: NDArray[np.int32],
    *,
    false_positive_rates: NDArray,
) -> FloatArray:
    """Return [B, F] the ROC curve of each resample at given false positive rates.

    Args:
        labels: [N] 1 = positive, 0 = negative.
        scores: [N].
        patients: [N] codes 0 .. P-1.
        draws: [B, P] from `patient_resamples`.
        false_positive_rates: [F] in [0, 1].
    """
    return np.concatenate(
        [
            sensitivity_at(labels, scores, weights, false_positive_rates)
            for weights in _image_weights(patients, draws)
        ]
    )


def _image_weights(patients: NDArray, draws: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    """Yield [b, N] how often each image was drawn, a few resamples at a time.

    All at once would take B * N values: 2.4 GB for 100,000 images and 3,000 resamples.
    """
    num_resamples = max(1, _CHUNK_VALUES // len(patients))
    for start in range(0, len(draws), num_resamples):
        yield draws[start : start + num_resamples][:, patients]


def percentile_interval(values: FloatArray, counts: PatientCounts, *, alpha: float) -> Interval:
    """Return the central 1 - alpha of resampled values, or why there is none."""
    degenerate = int(np.isnan(values).sum())
    if min(counts.positive, counts.negative) < MIN_PATIENTS_PER_CLASS:
        note = (
            f"insufficient: {counts.positive} positive and {counts.negative} negative patients, "
            f"an interval needs {MIN_PATIENTS_PER_CLASS} of each"
        )
        return Interval(None, None, degenerate, note)
    if degenerate > MAX_DEGENERATE_RATIO * len(values):
        note = f"insufficient: {degenerate} of {len(values)} resamples lack one class"
        return Interval(None, None, degenerate, note)
    low, high = np.nanquantile(values, [alpha / 2, 1 - alpha / 2])
    return Interval(float(low), float(high), degenerate)
