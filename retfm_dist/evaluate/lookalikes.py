"""Images of a task that look the same although their files differ: likely re-encoded copies.

A copy under another patient's number, in another fold or set, lets a fit see its test image. So
patients who share one stay in one fold, and the report says how many there are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from retfm_dist.cohort.looks import find_alike, hash_words
from retfm_dist.evaluate.encode.features import EncodedImages
from retfm_dist.evaluate.encode.looks import looks_of
from retfm_dist.evaluate.samples import TaskSamples


@dataclass(frozen=True)
class Lookalikes:
    """Pairs of images of a task that look the same.

    Attributes:
        pairs: [K, 2] indexes of the samples, the smaller first.
        within_patients: Images that look like another one of their patient.
        across_patients: Images that look like one of another patient.
        across_sets: Images of the validation or test set that look like one of the train set.
    """

    pairs: NDArray[np.intp]
    within_patients: int
    across_patients: int
    across_sets: int

    def describe(self) -> dict[str, int]:
        """Return the numbers of images as JSON values."""
        return {
            "within_patients": self.within_patients,
            "across_patients": self.across_patients,
            "across_sets": self.across_sets,
        }


def find_lookalikes(samples: TaskSamples, encoded: EncodedImages) -> Lookalikes:
    """Compare all images of a task, encoded by `looks_model`, with one another."""
    digests = [encoded.digests[record.row] for record in samples.records]
    looks = hash_words(looks_of(encoded, digests))
    pairs = find_alike(looks, looks)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    patients = samples.patients()[pairs]
    same = patients[:, 0] == patients[:, 1]
    across_sets = 0
    if samples.splits is not None:
        in_train = (samples.splits == "train")[pairs]
        leaked = in_train.any(axis=1) & ~in_train.all(axis=1)
        across_sets = len(np.unique(pairs[leaked][~in_train[leaked]]))
    return Lookalikes(pairs, len(np.unique(pairs[same])), len(np.unique(pairs[~same])), across_sets)


def link_patients(patients: NDArray, pairs: NDArray) -> NDArray:
    """Return [N] codes under which patients with images that look the same are one.

    Args:
        patients: [N] codes 0 .. P-1.
        pairs: [K, 2] indexes of images that look the same.
    """
    size = int(patients.max()) + 1
    first, second = patients[pairs].T
    graph = coo_array((np.ones(len(pairs)), (first, second)), shape=(size, size))
    return connected_components(graph, directed=False)[1][patients]
