"""Patient-grouped folds, and predictions by fits that saw no image of the patient.

Either every image is predicted once in each cross-validation, or, where a task has fixed sets, its
validation and test images by one fit on the train set.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from retfm_dist.errors import EvaluateError
from retfm_dist.statistics.clusters import FloatArray


@dataclass(frozen=True)
class TrainingSet:
    """What a protocol is fitted on.

    Attributes:
        features: [N, D].
        labels: [N] class, 0-based; every class occurs.
        patients: [N] codes.
        classes: Names of the C classes.
        validation: [M, D] features and [M] labels of other patients to choose hyperparameters on;
            None where folds of the training patients have to do.
        where: Task, for messages.
    """

    features: FloatArray
    labels: NDArray
    patients: NDArray
    classes: tuple[str, ...]
    validation: tuple[FloatArray, NDArray] | None = None
    where: str = ""


Fit = Callable[[TrainingSet, FloatArray], tuple[FloatArray, dict[str, Any]]]
"""(training set, [M, D] test features) -> [M, C] probabilities, facts of the fit."""


@dataclass(frozen=True)
class UnseenPredictions:
    """Predictions of images by fits that saw none of their patients.

    Attributes:
        probabilities: [N, C] of the classes.
        fits: Per fit, what is worth knowing about it.
    """

    probabilities: FloatArray
    fits: tuple[dict[str, Any], ...]


def split_folds(
    labels: NDArray,
    patients: NDArray,
    *,
    classes: Sequence[str],
    num_folds: int,
    seed: int,
    where: str,
) -> NDArray:
    """Return [N] the fold of each image: patients undivided, classes balanced, shuffled.

    Raises:
        EvaluateError: There are too few patients of a class, or a fold would be of one class.
    """
    for label, name in reversed(list(enumerate(classes))):
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
                expected="two classes at least in every fold",
                hint="use fewer folds or another seed",
            )
        folds[test] = fold
    return folds


def cross_validate(
    data: TrainingSet,
    folds: NDArray,
    *,
    fit: Fit,
) -> UnseenPredictions:
    """Predict each fold with a fit on all the others.

    Args:
        data: All images; its validation is not looked at.
        folds: [N] from `split_folds`.
        fit: A protocol's.
    """
    probabilities = np.empty((len(data.labels), len(data.classes)), np.float64)
    fits = []
    for fold in range(int(folds.max()) + 1):
        test = folds == fold
        probabilities[test], facts = fit(_part(data, ~test), data.features[test])
        fits.append(facts)
    return UnseenPredictions(probabilities, tuple(fits))


def predict_held_out(data: TrainingSet, splits: NDArray, *, fit: Fit) -> UnseenPredictions:
    """Predict the validation and test images with a fit on the train set.

    Args:
        data: All images; its validation is not looked at.
        splits: [N] "train", "val" or "test".
        fit: A protocol's.

    Returns:
        Predictions of the images that are not in the train set, in their order.
    """
    val = splits == "val"
    validation = (data.features[val], data.labels[val]) if val.any() else None
    probabilities, facts = fit(
        _part(data, splits == "train", validation), data.features[splits != "train"]
    )
    return UnseenPredictions(probabilities, (facts,))


def _part(
    data: TrainingSet,
    chosen: NDArray,
    validation: tuple[FloatArray, NDArray] | None = None,
) -> TrainingSet:
    return TrainingSet(
        data.features[chosen],
        data.labels[chosen],
        data.patients[chosen],
        data.classes,
        validation,
        data.where,
    )
