"""How often a 95 % interval of the AUROC covers the truth."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulations.cohorts import (
    Cohort,
    draw_cohort,
    draw_folds,
    draw_labels,
    draw_scores,
    effect_of,
    fit_ridge,
    true_auroc,
)
from retfm_dist.evaluate.neighbors import vote, vote_reciprocity
from retfm_dist.statistics.auroc import auroc
from retfm_dist.statistics.clusters import code_patients
from retfm_dist.statistics.estimate import FIXED, Design, estimate
from retfm_dist.statistics.suite import measure_auroc

NUM_FOLDS, NUM_REPEATS = 5, 10
_NEW_PATIENTS = 2_000
_NEIGHBORS, _TEMPERATURE = 20, 0.1
"""Of the votes that are simulated."""
Covered = bool | None
"""Whether an interval covers the truth; None where none is given."""


@dataclass(frozen=True)
class Cell:
    """One situation.

    Attributes:
        kind: "fixed scores", "train/test" or "cross-validation".
        patients: Patients in all.
        prevalence: Share of diseased patients.
        effect: Distance of the classes, in standard deviations.
        label: Signal, in words.
        simulate: One repetition, given its random generator.
    """

    kind: str
    patients: int
    prevalence: float
    effect: float
    label: str
    simulate: Callable[["Cell", np.random.Generator], Covered]

    @property
    def name(self) -> str:
        """Name in tables."""
        return (
            f"{self.kind}, {self.patients} patients, {self.prevalence:.0%} diseased, {self.label}"
        )


def cells() -> Iterator[Cell]:
    """Yield every situation."""
    areas = (0.5, 0.6, 0.75, 0.85, 0.95)
    for patients, prevalence, area in product((60, 200, 800), (0.35, 0.2), areas):
        label = f"AUROC {area}"
        yield Cell("fixed scores", patients, prevalence, effect_of(area), label, _fixed)
    signals = {"no signal": 0.0, "weak": 0.8, "strong": 2.2}
    for patients, label in product((200, 800), signals):
        yield Cell("train/test", patients, 0.35, signals[label], label, _train_test)
    effects = {"no signal": 0.0, "weak": 0.8, "middle": 1.5, "strong": 2.5}
    for patients, prevalence, label in product((60, 200, 800), (0.35, 0.2), effects):
        effect = effects[label]
        yield Cell("cross-validation", patients, prevalence, effect, label, _cross_validate)
    for patients, label in product((60, 200), ("no signal", "middle", "strong")):
        kind = f"cross-validation, {_NEIGHBORS} neighbors"
        yield Cell(kind, patients, 0.35, effects[label], label, _cross_validate_neighbors)


def covers(values: list, influences: list, truth: float, rarest: int, design: Design) -> Covered:
    """Return whether the interval of these replicates covers the truth."""
    found = estimate(np.array(values), np.array(influences), design)
    interval = found.interval(scale="unit", num_patients=rarest, alpha=0.05)
    if interval.low is None or interval.high is None:
        return None
    return interval.low <= truth <= interval.high


def _fixed(cell: Cell, rng: np.random.Generator) -> Covered:
    labels, patients = draw_labels(rng, cell.patients, cell.prevalence)
    scores = draw_scores(rng, labels, patients, cell.effect)
    found = measure_auroc(labels, scores, patients)
    truth = true_auroc(np.array([1.0]), cell.effect)
    return covers([found.value], [found.influence], truth, found.num_patients, FIXED)


def _train_test(cell: Cell, rng: np.random.Generator) -> Covered:
    """Fit on 70 % of the patients, judge on the others; the truth is that of the fit."""
    cohort = draw_cohort(rng, cell.patients, cell.prevalence, cell.effect)
    test = cohort.patients >= int(0.7 * cell.patients)
    weights = fit_ridge(cohort.features[~test], cohort.labels[~test])
    found = measure_auroc(
        cohort.labels[test], cohort.features[test] @ weights, code_patients(cohort.patients[test])
    )
    truth = true_auroc(weights, cell.effect)
    return covers([found.value], [found.influence], truth, found.num_patients, FIXED)


def _cross_validate(cell: Cell, rng: np.random.Generator) -> Covered:
    """The truth is the mean AUROC that the fits of all folds and repeats have on new patients."""

    def fit(train: Cohort, test: NDArray) -> tuple[NDArray, float]:
        weights = fit_ridge(train.features, train.labels)
        return test @ weights, true_auroc(weights, cell.effect)

    return _repeat_folds(cell, rng, fit, lambda cohort, folds: 1.0)


def _cross_validate_neighbors(cell: Cell, rng: np.random.Generator) -> Covered:
    """The same of a vote of neighbors, whose truth is counted on many new patients."""
    new = draw_cohort(rng, _NEW_PATIENTS, cell.prevalence, cell.effect)
    options: Any = {"k": _NEIGHBORS, "temperature": _TEMPERATURE}

    def fit(train: Cohort, test: NDArray) -> tuple[NDArray, float]:
        judged = np.concatenate([test, new.features])
        shares = vote(train.features, train.labels, judged, num_classes=2, **options)
        scores = shares[:, 1]
        return scores[: len(test)], auroc(new.labels, scores[len(test) :])

    def returned(cohort: Cohort, folds: NDArray) -> float:
        return vote_reciprocity(cohort.features, cohort.patients, folds, **options)

    return _repeat_folds(cell, rng, fit, returned)


def _repeat_folds(
    cell: Cell,
    rng: np.random.Generator,
    fit: Callable[[Cohort, NDArray], tuple[NDArray, float]],
    returned: Callable[[Cohort, NDArray], float],
) -> Covered:
    """Cross-validate `fit`, (train, test features) -> scores and true AUROC of the fit.

    `returned` is its reciprocity, from the cohort and folds.
    """
    cohort = draw_cohort(rng, cell.patients, cell.prevalence, cell.effect)
    values, influences, truths = [], [], []
    for _ in range(NUM_REPEATS):
        folds = draw_folds(rng, cohort, NUM_FOLDS)
        scores = np.empty(len(folds))
        for fold in range(NUM_FOLDS):
            test = folds == fold
            scores[test], truth = fit(cohort.keep(~test), cohort.features[test])
            truths.append(truth)
        found = measure_auroc(cohort.labels, scores, cohort.patients, folds=folds)
        values.append(found.value)
        influences.append(found.influence)
    design = Design("cross_validation", NUM_FOLDS, returned(cohort, folds))
    return covers(values, influences, float(np.mean(truths)), found.num_patients, design)
