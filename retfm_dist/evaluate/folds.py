"""Patient-grouped folds, and cross-validation over them.

Every image is predicted once, by a fit that saw no image of its patient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from retfm_dist.errors import EvaluateError
from retfm_dist.statistics.clusters import FloatArray

Fit = Callable[[FloatArray, NDArray, NDArray, FloatArray, str], tuple[FloatArray, dict[str, Any]]]
"""(training features, labels, patients, test features, where) -> test scores, facts of the fit;
`where` is for messages."""


@dataclass(frozen=True)
class OutOfFoldScores:
    """Result of a cross-validation.

    Attributes:
        scores: [N] probability of the positive class.
        folds: [N] the fold in which each image was predicted, 0-based.
        fits: Per fold, what is worth knowing about its fit.
    """

    scores: FloatArray
    folds: NDArray
    fits: tuple[dict[str, Any], ...]


def split_folds(
    labels: NDArray, patients: NDArray, *, num_folds: int, seed: int, where: str
) -> NDArray:
    """Return [N] the fold of each image: patients undivided, classes balanced, shuffled.

    Raises:
        EvaluateError: There are too few patients of a class, or a fold would lack one.
    """
    for label, name in ((1, "positive"), (0, "negative")):
        available = len(np.unique(patients[labels == label]))
        if available < num_folds:
            raise EvaluateError(
                f"too few patients with {name} images for the folds",
                where=where,
                got=available,
                expected=f"at least {num_folds}",
                hint="use fewer folds or more data",
            )
    folds = np.empty(len(labels), np.int64)
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed % 2**32)
    for fold, (_, test) in enumerate(splitter.split(labels, labels, patients)):
        if len(np.unique(labels[test])) < 2:
            raise EvaluateError(
                f"fold {fold} holds one class only",
                where=where,
                expected="both classes in every fold",
                hint="use fewer folds or another seed",
            )
        folds[test] = fold
    return folds


def cross_validate(
    features: FloatArray,
    labels: NDArray,
    patients: NDArray,
    folds: NDArray,
    *,
    fit: Fit,
    where: str,
) -> OutOfFoldScores:
    """Predict each fold with a fit on all the others.

    Args:
        features: [N, D].
        labels: [N] 1 = positive, 0 = negative.
        patients: [N] codes.
        folds: [N] from `split_folds`.
        fit: A protocol's.
        where: Task, for messages.
    """
    scores = np.empty(len(labels), np.float64)
    fits = []
    for fold in range(int(folds.max()) + 1):
        test = folds == fold
        scores[test], facts = fit(
            features[~test], labels[~test], patients[~test], features[test], where
        )
        fits.append(facts)
    return OutOfFoldScores(scores, folds, tuple(fits))
