"""Protocols that fit on frozen features: nearest neighbors and linear probe."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import EvaluateConfig, LinearConfig
from retfm_dist.evaluate.folds import Fit, TrainingSet, split_folds
from retfm_dist.evaluate.neighbors import vote, vote_reciprocity
from retfm_dist.statistics.auroc import auroc_of_classes
from retfm_dist.statistics.clusters import FloatArray

_MAX_ITERATIONS = 5_000
_TOLERANCE = 1e-6
"""Of the largest gradient, on features of variance 1."""
_NEWTON_MAX_WIDTH = 1024


@dataclass(frozen=True)
class Protocol:
    """A way to turn frozen features into predictions.

    Attributes:
        id: Name in tables and files.
        title: Name for people.
        fit: Fits on the training images and scores the test images.
        reciprocity: How far the effect of one patient on another's score is returned, in [0, 1],
            from the data and [N] the folds of a cross-validation.
    """

    id: str
    title: str
    fit: Fit
    reciprocity: Callable[[TrainingSet, NDArray], float] = lambda data, folds: 1.0


def build_protocols(config: EvaluateConfig) -> tuple[Protocol, ...]:
    """Return the protocols of an evaluation, in the order of the report."""
    knn, linear = config.protocols.knn, config.protocols.linear
    protocols = []
    for k in knn.k if knn else ():
        protocols.append(_knn(k, knn.temperature if knn else 1.0))
    if linear:
        fit = _linear_fit(linear, seed=config.seed)
        protocols.append(Protocol(id="linear", title="linear probe", fit=fit))
    return tuple(protocols)


def _knn(k: int, temperature: float) -> Protocol:
    def fit(data: TrainingSet, test: FloatArray) -> tuple[FloatArray, dict[str, Any]]:
        if k > len(data.labels):
            raise EvaluateError(
                "more neighbors than training images",
                where=data.where,
                got=k,
                expected=f"at most {len(data.labels)}",
            )
        return vote(
            data.features,
            data.labels,
            test,
            num_classes=len(data.classes),
            k=k,
            temperature=temperature,
        ), {}

    def returned(data: TrainingSet, folds: NDArray) -> float:
        return vote_reciprocity(data.features, data.patients, folds, k=k, temperature=temperature)

    return Protocol(f"knn_{k}", f"kNN, k = {k}", fit, returned)


def _with_first_class(later: FloatArray) -> FloatArray:
    """Return [..., C] probabilities, given those of the classes after the first."""
    later = later.clip(0.0, 1.0)  # two sums may round apart
    first = (1.0 - later.sum(axis=-1, keepdims=True)).clip(0.0, 1.0)
    return np.concatenate([first, later], axis=-1)


def _linear_fit(config: LinearConfig, *, seed: int) -> Fit:
    def fit(data: TrainingSet, test: FloatArray) -> tuple[FloatArray, dict[str, Any]]:
        c = choose_c(data, config=config, seed=seed)
        scores, converged = linear_scores(
            data.features, data.labels, test, num_classes=len(data.classes), c_grid=[c]
        )
        at_edge = c in (config.c_grid[0], config.c_grid[-1]) and len(config.c_grid) > 1
        return scores[0], {"c": c, "c_at_grid_edge": at_edge, "converged": converged}

    return fit


def choose_c(data: TrainingSet, *, config: LinearConfig, seed: int) -> float:
    """Return the C with the best AUROC on the validation set; ties: the smallest.

    Without a validation set it is the mean AUROC over inner patient-grouped folds. Of more than two
    classes, AUROC is the mean of each class against the rest.

    Raises:
        EvaluateError: There are too few patients for the inner folds.
    """
    if len(config.c_grid) == 1:
        return config.c_grid[0]
    train, labels, num_classes = data.features, data.labels, len(data.classes)
    if data.validation is not None:
        features, truth = data.validation
        scores, _ = linear_scores(
            train, labels, features, num_classes=num_classes, c_grid=config.c_grid
        )
        quality = np.array([auroc_of_classes(truth, rows) for rows in scores])
        return config.c_grid[int(np.argmax(quality.round(12)))]
    inner = split_folds(
        labels,
        data.patients,
        classes=data.classes,
        num_folds=config.inner_folds,
        seed=seed,
        where=f"{data.where}, inner folds",
    )
    quality = np.zeros(len(config.c_grid))
    for fold in range(config.inner_folds):
        test = inner == fold
        scores, _ = linear_scores(
            train[~test], labels[~test], train[test], num_classes=num_classes, c_grid=config.c_grid
        )
        quality += [auroc_of_classes(labels[test], rows) for rows in scores]
    return config.c_grid[int(np.argmax(quality.round(12)))]


def linear_scores(
    train: FloatArray, labels: NDArray, test: FloatArray, *, num_classes: int, c_grid: Any
) -> tuple[FloatArray, bool]:
    """Return probabilities of the classes under logistic regressions of several strengths.

    Of more than two classes it is the multinomial model. A class without a training image has
    probability 0.

    Features are standardized by the training images' mean and standard deviation, and both sides
    rotated onto the span of the training images: the L2-penalized optimum lies in it, so this
    changes nothing and makes many features of few images cheap.

    Args:
        train: [N, D] features.
        labels: [N] class, 0 .. C-1; at least two occur.
        test: [M, D] features.
        num_classes: C.
        c_grid: [G] inverse regularization strengths.

    Returns:
        [G, M, C] probabilities, and whether every fit converged.
    """
    mean, std = train.mean(axis=0), train.std(axis=0)
    scale = np.where(std > 1e-12 * np.maximum(np.abs(mean), 1e-30), std, np.inf)
    train, test = (train - mean) / scale, (test - mean) / scale
    if train.shape[1] > train.shape[0]:
        _, _, directions = np.linalg.svd(train, full_matrices=False)
        train, test = train @ directions.T, test @ directions.T
    # Newton's method needs a dozen steps however correlated the features are; L-BFGS needed
    # thousands on texture statistics. Its steps are cubic in the number of coefficients.
    num_coefficients = train.shape[1] * (num_classes if num_classes > 2 else 1)
    solver = "newton-cholesky" if num_coefficients <= _NEWTON_MAX_WIDTH else "lbfgs"
    scores, converged = [], True
    for c in c_grid:
        model = LogisticRegression(C=c, tol=_TOLERANCE, max_iter=_MAX_ITERATIONS, solver=solver)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # reported as a fact of the fit
            model.fit(train, labels)
        converged &= bool((model.n_iter_ < _MAX_ITERATIONS).all())
        found = np.zeros((len(test), num_classes))
        found[:, model.classes_] = model.predict_proba(test)
        scores.append(_with_first_class(found[:, 1:]))
    return np.array(scores), converged
