"""Protocols that fit on frozen features: nearest neighbors and linear probe."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import EvaluateConfig, LinearConfig
from retfm_dist.evaluate.folds import Fit, split_folds
from retfm_dist.statistics.auroc import auroc
from retfm_dist.statistics.clusters import FloatArray

_MAX_ITERATIONS = 5_000
_TOLERANCE = 1e-6
"""Of the largest gradient, on features of variance 1."""
_NEWTON_MAX_WIDTH = 1024
_KNN_BLOCK = 512
"""Test images compared with all training images at once."""


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
    # Newton's method needs a dozen steps however correlated the features are; L-BFGS needed
    # thousands on texture statistics. Its steps are cubic in the width.
    solver = "newton-cholesky" if train.shape[1] <= _NEWTON_MAX_WIDTH else "lbfgs"
    scores, converged = [], True
    for c in c_grid:
        model = LogisticRegression(C=c, tol=_TOLERANCE, max_iter=_MAX_ITERATIONS, solver=solver)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # reported as a fact of the fit
            model.fit(train, labels)
        converged &= bool((model.n_iter_ < _MAX_ITERATIONS).all())
        scores.append(model.predict_proba(test)[:, 1])
    return np.array(scores), converged
