"""Votes of the nearest neighbors by cosine similarity."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from retfm_dist.statistics.clusters import FloatArray
from retfm_dist.statistics.reciprocity import reciprocity

_BLOCK = 512
"""Test images compared with all training images at once."""


def vote(
    train: FloatArray,
    labels: NDArray,
    test: FloatArray,
    *,
    num_classes: int,
    k: int,
    temperature: float,
) -> FloatArray:
    """Return [M, C] the share of each class in the k nearest neighbors' votes.

    Neighbors are those of highest cosine similarity s (ties: the earlier image); their votes are
    softmax(s / temperature) over these k alone.

    Args:
        train: [N, D] features.
        labels: [N] class, 0 .. C-1.
        test: [M, D] features.
        num_classes: C.
        k: Number of neighbors, <= N.
        temperature: Of the softmax, > 0.

    Source: Wu et al. 2018, arXiv:1805.01978, as in DINO, arXiv:2104.14294.
    """
    members = [labels == label for label in range(1, num_classes)]
    later = np.concatenate(
        [
            np.column_stack([(votes * member[nearest]).sum(axis=1) for member in members])
            for nearest, votes in _nearest(train, test, k=k, temperature=temperature)
        ]
    ).clip(0.0, 1.0)  # two sums may round apart
    first = (1.0 - later.sum(axis=1, keepdims=True)).clip(0.0, 1.0)
    return np.concatenate([first, later], axis=1)


def vote_reciprocity(
    features: FloatArray, patients: NDArray, folds: NDArray, *, k: int, temperature: float
) -> float:
    """Return how far patients vote on those who vote on them, in [0, 1].

    Args:
        features: [N, D] of all images.
        patients: [N] codes >= 0.
        folds: [N] of a cross-validation, patients undivided.
        k: As in `vote`.
        temperature: Likewise.
    """
    judged, trained, weights = [], [], []
    for fold in np.unique(folds):
        test, train = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        blocks = _nearest(features[train], features[test], k=k, temperature=temperature)
        nearest, votes = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        judged.append(np.repeat(patients[test], k))
        trained.append(patients[train[nearest]].ravel())
        weights.append(votes.ravel())
    return reciprocity(np.concatenate(judged), np.concatenate(trained), np.concatenate(weights))


def _nearest(
    train: FloatArray, test: FloatArray, *, k: int, temperature: float
) -> Iterator[tuple[NDArray, FloatArray]]:
    """Yield [B, k] training images that vote and [B, k] their votes, adding up to 1, in blocks."""
    train = _unit_rows(train)
    for block in np.array_split(_unit_rows(test), -(-len(test) // _BLOCK) or 1):
        similarity = block @ train.T
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        logits = np.take_along_axis(similarity, nearest, axis=1) / temperature
        votes = np.exp(logits - logits.max(axis=1, keepdims=True))
        yield nearest, votes / votes.sum(axis=1, keepdims=True)


def _unit_rows(features: FloatArray) -> FloatArray:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(norms > 0, norms, 1.0)
