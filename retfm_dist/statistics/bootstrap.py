"""Resampling of patients with replacement, within classes.

Source: Davison and Hinkley 1997, Bootstrap Methods and their Application (stratified and cluster
resampling); for eyes Ying et al. 2021, PMC8586066.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from retfm_dist.statistics.clusters import patient_labels


def seed_for(seed: int, *names: str) -> int:
    """Derive one seed per purpose, so that adding a task does not change the others."""
    digest = hashlib.sha256("/".join([str(seed), *names]).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def patient_resamples(
    labels: NDArray, patients: NDArray, *, num_resamples: int, seed: int
) -> NDArray[np.int32]:
    """Draw patients with replacement, within those of each largest label.

    Args:
        labels: [N] 1 = positive, 0 = negative, or grades >= 0.
        patients: [N] codes 0 .. P-1.
        num_resamples: B.
        seed: Of this resampling alone.

    Returns:
        [B, P] how often each patient was drawn.
    """
    (draws,) = patient_resamples_in_parts(
        labels, patients, num_resamples=num_resamples, seed=seed, part_size=num_resamples
    )
    return draws


def patient_resamples_in_parts(
    labels: NDArray, patients: NDArray, *, num_resamples: int, seed: int, part_size: int
) -> Iterator[NDArray[np.int32]]:
    """Draw patients as `patient_resamples` does, a few resamples at a time.

    Args:
        labels: [N] 1 = positive, 0 = negative, or grades >= 0.
        patients: [N] codes 0 .. P-1.
        num_resamples: B.
        seed: Of this resampling alone.
        part_size: Resamples of a part; others are drawn with another size.

    Yields:
        [b, P] how often each patient was drawn, until there are B.
    """
    largest = patient_labels(labels, patients)
    members = [np.flatnonzero(largest == label) for label in np.unique(largest)]
    generator = np.random.default_rng(seed)
    for start in range(0, num_resamples, part_size):
        draws = np.zeros((min(part_size, num_resamples - start), len(largest)), np.int32)
        for stratum in members:
            even = np.full(len(stratum), 1 / len(stratum))
            draws[:, stratum] = generator.multinomial(len(stratum), even, size=len(draws))
        yield draws
