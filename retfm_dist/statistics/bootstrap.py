"""Resampling of patients with replacement, within classes.

Source: Davison and Hinkley 1997, Bootstrap Methods and their Application (stratified and cluster
resampling); for eyes Ying et al. 2021, PMC8586066.
"""

import hashlib

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
    largest = patient_labels(labels, patients)
    draws = np.zeros((num_resamples, len(largest)), np.int32)
    generator = np.random.default_rng(seed)
    for label in np.unique(largest):
        members = np.flatnonzero(largest == label)
        even = np.full(len(members), 1 / len(members))
        draws[:, members] = generator.multinomial(len(members), even, size=num_resamples)
    return draws
