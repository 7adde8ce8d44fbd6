"""From frozen features to out-of-fold predictions: nearest neighbors and linear probe.

Every image is predicted once, by a fit that saw no image of its patient.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import EvaluateConfig, LinearConfig
from retfm_dist.statistics.auroc import FloatArray, auroc

_MAX_ITERATIONS = 5_000
_TOLERANCE = 1e-6
"""Of L-BFGS's projected gradient, on features of variance 1."""
_KNN_BLOCK = 512
"""Test images compared with all training images at once."""

Fit = Callable[[FloatArray, NDArray, NDArray, FloatArray, str], tuple[FloatArray, dict[str, Any]]]
"""(training features, labels, patients, test features, where) -> test scores, facts of the fit;
`where` is for messages."""


@dataclass(frozen=True)
class Protocol:
    """A way to turn frozen features into predictions.

    Attributes:
        id: Name in tables and files.
        title: Name for people.
        fit: Fits on the training images and scores the test images.
    """

    id: str
    title: str
    fit: Fit


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


def build_protocols(config: EvaluateConfig) -> tuple[Protocol, ...]:
    """Return the protocols of an evaluation, in the order of the report."""
    knn, linear = config.protocols.knn, config.protocols.linear
    protocols = []
    for k in knn.k if knn else ():
        fit = _knn_fit(k, knn.temperature if knn else 1.0)
        protocols.append(Protocol(id=f"knn_{k}", title=f"kNN, k = {k}", fit=fit))
    if linear:
        fit = _linear_fit(linear, seed=config.seed)
        protocols.append(Protocol(id="linear", title="linear probe", fit=fit))
    return tuple(protocols)


def _knn_fit(k: int, temperature: float) -> Fit:
    def fit(
        train: FloatArray, labels: NDArray, patients: NDArray, test: FloatArray, where: str
    ) -> tuple[FloatArray, dict[str, Any]]:
        if k > len(train):
            raise EvaluateError(
                "more neighbors than training images",
                where=where,
                got=k,
                expected=f"at most {len(train)}",
            )
        return knn_scores(train, labels, test, k=k, temperature=temperature), {}

    return fit


def knn_scores(
    train: FloatArray, labels: NDArray, test: FloatArray, *, k: int, temperature: float
) -> FloatArray:
    """Return [M] the positives' share of the k nearest neighbors' votes.

    Neighbors are those of highest cosine similarity s (ties: the earlier image); their votes are
    softmax(s / temperature) over these k alone.

    Args:
        train: [N, D] features.
        labels: [N] 1 = positive, 0 = negative.
        test: [M, D] features.
        k: Number of neighbors, <= N.
        temperature: Of the softmax, > 0.

    Source: Wu et al. 2018, arXiv:1805.01978, as in DINO, arXiv:2104.14294.
    """
    train = _unit_rows(train)
    blocks = np.array_split(_unit_rows(test), -(-len(test) // _KNN_BLOCK) or 1)
    return np.concatenate(
        [_vote(block @ train.T, labels, k=k, temperature=temperature) for block in blocks]
    )


def _vote(similarity: FloatArray, labels: NDArray, *, k: int, temperature: float) -> FloatArray:
    """Return the positives' share of the votes, given [M, N] similarities."""
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    logits = np.take_along_axis(similarity, nearest, axis=1) / temperature
    votes = np.exp(logits - logits.max(axis=1, keepdims=True))
    share = (votes * labels[nearest]).sum(axis=1) / votes.sum(axis=1)
    return share.clip(0.0, 1.0)  # the two sums may round apart


def _unit_rows(features: FloatArray) -> FloatArray:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(norms > 0, norms, 1.0)


def _linear_fit(config: LinearConfig, *, seed: int) -> Fit:
    def fit(
        train: FloatArray, labels: NDArray, patients: NDArray, test: FloatArray, where: str
    ) -> tuple[FloatArray, dict[str, Any]]:
        c = choose_c(train, labels, patients, config=config, seed=seed, where=where)
        scores, converged = linear_scores(train, labels, test, c_grid=[c])
        at_edge = c in (config.c_grid[0], config.c_grid[-1]) and len(config.c_grid) > 1
        return scores[0], {"c": c, "c_at_grid_edge": at_edge, "converged": converged}

    return fit


def choose_c(
    train: FloatArray,
    labels: NDArray,
    patients: NDArray,
    *,
    config: LinearConfig,
    seed: int,
    where: str,
) -> float:
    """Return the C with the best mean AUROC over inner patient-grouped folds; ties: the smallest.

    Raises:
        EvaluateError: There are too few patients for the inner folds.
    """
    if len(config.c_grid) == 1:
        return config.c_grid[0]
    inner = split_folds(
        labels, patients, num_folds=config.inner_folds, seed=seed, where=f"{where}, inner folds"
    )
    quality = np.zeros(len(config.c_grid))
    for fold in range(config.inner_folds):
        test = inner == fold
        scores, _ = linear_scores(train[~test], labels[~test], train[test], c_grid=config.c_grid)
        quality += [auroc(labels[test], row) for row in scores]
    return config.c_grid[int(np.argmax(quality.round(12)))]


def linear_scores(
    train: FloatArray, labels: NDArray, test: FloatArray, *, c_grid: Any
) -> tuple[FloatArray, bool]:
    """Return probabilities of the positive class under logistic regressions of several strengths.

    Features are standardized by the training images' mean and standard deviation, and both sides
    rotated onto the span of the training images: the L2-penalized optimum lies in it, so this
    changes nothing and makes many features of few images cheap.

    Args:
        train: [N, D] features.
        labels: [N] 1 = positive, 0 = negative; both occur.
        test: [M, D] features.
        c_grid: [C] inverse regularization strengths.

    Returns:
        [C, M] probabilities, and whether every fit converged.
    """
    mean, std = train.mean(axis=0), train.std(axis=0)
    scale = np.where(std > 1e-12 * np.maximum(np.abs(mean), 1e-30), std, np.inf)
    train, test = (train - mean) / scale, (test - mean) / scale
    if train.shape[1] > train.shape[0]:
        _, _, directions = np.linalg.svd(train, full_matrices=False)
        train, test = train @ directions.T, test @ directions.T
    scores, converged = [], True
    for c in c_grid:
        model = LogisticRegression(C=c, tol=_TOLERANCE, max_iter=_MAX_ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # reported as a fact of the fit
            model.fit(train, labels)
        converged &= bool((model.n_iter_ < _MAX_ITERATIONS).all())
        scores.append(model.predict_proba(test)[:, 1])
    return np.array(scores), converged
