"""Patients as clusters of images: codes, counts, sums.

Two eyes of a patient are not independent, so patients are the unit of every interval and test.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PatientCounts:
    """Patients by their most severe image.

    Attributes:
        positive: Patients with at least one positive image.
        negative: Patients whose images are all negative.
    """

    positive: int
    negative: int


def code_patients(subject_ids: NDArray) -> NDArray:
    """Return codes 0 .. P-1 in order of first appearance.

    Results that depend on the codes therefore do not depend on how patients are named.
    """
    _, first, inverse = np.unique(subject_ids, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def patient_names(subject_ids: NDArray) -> NDArray:
    """Return [P] the names of the patients in the order of their codes."""
    return subject_ids[np.sort(np.unique(subject_ids, return_index=True)[1])]


def patient_labels(labels: NDArray, patients: NDArray) -> NDArray:
    """Return [P] the largest label of each patient.

    Args:
        labels: [N] 1 = positive, 0 = negative, or grades >= 0.
        patients: [N] codes 0 .. P-1, all of which occur.
    """
    largest = np.zeros(patients.max() + 1, np.int64)
    np.maximum.at(largest, patients, labels)
    return largest


def count_patients(labels: NDArray, patients: NDArray) -> PatientCounts:
    """Count patients by their largest label."""
    largest = patient_labels(labels, patients) > 0
    return PatientCounts(positive=int(largest.sum()), negative=int((~largest).sum()))


def fewest_patients(labels: NDArray, patients: NDArray) -> int:
    """Return in how many patients the rarest class occurs; a patient may count for several."""
    return min(len(np.unique(patients[labels == label])) for label in np.unique(labels))


def patient_sums(values: ArrayLike, patients: NDArray, num_patients: int) -> FloatArray:
    """Sum over the images of each patient.

    Args:
        values: [N] or [N, K].
        patients: [N] codes 0 .. P-1.
        num_patients: P.

    Returns:
        [P] or [P, K].
    """
    values = np.asarray(values, np.float64)
    sums = np.zeros((num_patients, *values.shape[1:]))
    np.add.at(sums, patients, values)
    return sums
