"""Simulated patients with two eyes each, whose true AUROC is known in closed form."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

WIDTH = 32
"""Features per image."""
PENALTY = 30.0
"""Of the ridge regression."""


@dataclass(frozen=True)
class Cohort:
    """Images of patients.

    Attributes:
        labels: [N] 1 = positive, 0 = negative.
        patients: [N] codes 0 .. P-1.
        features: [N, D]; the classes differ by `effect` standard deviations in the first.
    """

    labels: NDArray
    patients: NDArray
    features: NDArray

    def keep(self, kept: NDArray) -> "Cohort":
        """Return the images where `kept` [N] is true."""
        return Cohort(self.labels[kept], self.patients[kept], self.features[kept])


def draw_labels(
    rng: np.random.Generator, num_patients: int, prevalence: float
) -> tuple[NDArray, NDArray]:
    """Return labels and patients of two eyes each; of a diseased patient, 4 in 5 eyes are."""
    diseased = np.repeat(rng.random(num_patients) < prevalence, 2)
    labels = (diseased & (rng.random(2 * num_patients) < 0.8)).astype(np.int64)
    return labels, np.repeat(np.arange(num_patients), 2)


def draw_scores(
    rng: np.random.Generator, labels: NDArray, patients: NDArray, effect: float
) -> NDArray:
    """Return scores whose AUROC is Phi(effect / sqrt 2); eyes of a patient correlate by 0.5."""
    shared = rng.normal(size=int(patients.max()) + 1)[patients]
    return effect * labels + np.sqrt(0.5) * (shared + rng.normal(size=len(labels)))


def effect_of(auroc: float) -> float:
    """Return the effect that has this AUROC."""
    return float(np.sqrt(2) * norm.ppf(auroc))


def draw_cohort(
    rng: np.random.Generator, num_patients: int, prevalence: float, effect: float
) -> Cohort:
    """Return a cohort with features; the eyes of a patient correlate by 0.5 in each."""
    labels, patients = draw_labels(rng, num_patients, prevalence)
    shared = rng.normal(size=(num_patients, WIDTH))[patients]
    features = np.sqrt(0.5) * (shared + rng.normal(size=(len(labels), WIDTH)))
    features[:, 0] += effect * labels
    return Cohort(labels, patients, features)


def fit_ridge(features: NDArray, labels: NDArray) -> NDArray:
    """Return [D] weights of a ridge regression."""
    centered = features - features.mean(axis=0)
    gram = centered.T @ centered + PENALTY * np.eye(features.shape[1])
    return np.linalg.solve(gram, centered.T @ (labels - labels.mean()))


def true_auroc(weights: NDArray, effect: float) -> float:
    """Return the AUROC that linear weights have on new patients, exactly."""
    return float(norm.cdf(effect * weights[0] / (np.sqrt(2) * np.linalg.norm(weights))))


def draw_folds(rng: np.random.Generator, cohort: Cohort, num_folds: int) -> NDArray:
    """Return [N] folds: patients undivided, their numbers of positive eyes balanced."""
    counts = np.bincount(cohort.patients, cohort.labels)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order], kind="stable")]
    folds = np.empty(len(counts), np.int64)
    for start in range(0, len(order), num_folds):
        block = order[start : start + num_folds]
        folds[block] = rng.permutation(num_folds)[: len(block)]
    return folds[cohort.patients]
