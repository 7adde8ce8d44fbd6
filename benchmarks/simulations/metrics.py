"""How often the 95 % intervals of all other metrics cover the truth, scores fixed or of seeds."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulations.cohorts import draw_labels, draw_scores, effect_of
from benchmarks.simulations.coverage import Covered
from retfm_dist.statistics.estimate import FIXED, Design, estimate
from retfm_dist.statistics.suite import Measurement, measure_classes, measure_numbers, scale_of

_TRUTH_PATIENTS, _TRUTH_DRAWS = 2_000, 40
"""Cohorts of whom the true value of a metric is the mean."""
NUM_SEEDS, FEW_SEEDS = 5, 2
_PREVALENCE = 0.35
_THRESHOLDS = {"spec": 0.6}
_OVERCONFIDENCE = 1.3
_SEED_SPREAD, _WIDE_SEED_SPREAD = 0.15, 0.4
Measured = Mapping[str, Measurement]


@dataclass(frozen=True)
class MetricsCell:
    """One situation of several metrics.

    Attributes:
        kind: What is predicted.
        patients: Patients in all.
        draw: One cohort of so many patients, measured in one replicate or several.
        design: What the replicates are.
    """

    kind: str
    patients: int
    draw: Callable[[np.random.Generator, int], list[Measured]]
    design: Design = FIXED

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.kind}, {self.patients} patients"

    def simulate(self, rng: np.random.Generator) -> dict[str, Covered]:
        """Return whether each metric's interval covers the truth; None where it has none."""
        truths, measured = true_values(self.draw), self.draw(rng, self.patients)
        covered: dict[str, Covered] = {}
        for name, first in measured[0].items():
            influences = [item[name].influence for item in measured]
            if first.influence is None:
                continue
            values = np.array([item[name].value for item in measured])
            found = estimate(values, np.array(influences), self.design)
            interval = found.interval(
                scale=scale_of(name), num_patients=first.num_patients, alpha=0.05
            )
            is_given = interval.low is not None and interval.high is not None
            covered[name] = interval.low <= truths[name] <= interval.high if is_given else None
        return covered


def metrics_cells() -> Iterator[MetricsCell]:
    """Yield every situation."""
    seeds = Design("seeds")
    for patients in (60, 200, 800):
        yield MetricsCell("two classes", patients, draw_binary)
        yield MetricsCell("three grades", patients, draw_grades)
        yield MetricsCell("numbers", patients, draw_numbers)
        yield MetricsCell(f"two classes, {NUM_SEEDS} seeds", patients, draw_seeds, seeds)
        yield MetricsCell(
            f"two classes, {FEW_SEEDS} seeds far apart", patients, draw_few_seeds, seeds
        )


@cache
def true_values(draw: Callable[[np.random.Generator, int], list[Measured]]) -> dict[str, float]:
    """Return the mean of each metric over large cohorts."""
    rng = np.random.default_rng(20)
    replicates = [item for _ in range(_TRUTH_DRAWS) for item in draw(rng, _TRUTH_PATIENTS)]
    names = replicates[0]
    return {name: float(np.mean([item[name].value for item in replicates])) for name in names}


def draw_binary(rng: np.random.Generator, num_patients: int) -> list[Measured]:
    """Two classes at an AUROC of 0.85, from a model that is too sure of itself."""
    labels, patients = draw_labels(rng, num_patients, _PREVALENCE)
    effect = effect_of(0.85)
    return [_measure_scores(labels, patients, draw_scores(rng, labels, patients, effect), effect)]


def draw_seeds(rng: np.random.Generator, num_patients: int) -> list[Measured]:
    """The same images judged by trainings whose skill differs by the seed."""
    return _draw_seeds(rng, num_patients, num_seeds=NUM_SEEDS, spread=_SEED_SPREAD)


def draw_few_seeds(rng: np.random.Generator, num_patients: int) -> list[Measured]:
    """Two seeds, and far apart: 0.07 of AUROC."""
    return _draw_seeds(rng, num_patients, num_seeds=FEW_SEEDS, spread=_WIDE_SEED_SPREAD)


def _draw_seeds(
    rng: np.random.Generator, num_patients: int, *, num_seeds: int, spread: float
) -> list[Measured]:
    labels, patients = draw_labels(rng, num_patients, _PREVALENCE)
    effect = effect_of(0.85)
    common = draw_scores(rng, labels, patients, 0.0)
    measured = []
    for _ in range(num_seeds):
        own = np.sqrt(0.9) * common + np.sqrt(0.1) * rng.normal(size=len(labels))
        skill = effect + spread * rng.normal()
        measured.append(_measure_scores(labels, patients, own + skill * labels, effect))
    return measured


def _measure_scores(labels: NDArray, patients: NDArray, scores: NDArray, effect: float) -> Measured:
    share = 0.8 * _PREVALENCE
    logits = np.log(share / (1 - share)) + effect * scores - effect**2 / 2
    positive = 1 / (1 + np.exp(-_OVERCONFIDENCE * logits))
    probabilities = np.stack([1 - positive, positive], axis=1)
    return measure_classes(labels, probabilities, patients, thresholds=_THRESHOLDS)


def draw_grades(rng: np.random.Generator, num_patients: int) -> list[Measured]:
    """Three grades, of which the worst is the rarest; a model that takes one for the next."""
    worst = rng.choice(3, size=num_patients, p=[0.5, 0.25, 0.25])
    patients = np.repeat(np.arange(num_patients), 2)
    labels = np.where(rng.random(len(patients)) < 0.8, worst[patients], 0)
    centers = np.array([0.0, 1.2, 2.4])
    shared = rng.normal(size=num_patients)[patients]
    scores = centers[labels] + np.sqrt(0.5) * (shared + rng.normal(size=len(labels)))
    likelihoods = np.exp(-((scores[:, None] - centers) ** 2) / 2) * [0.6, 0.2, 0.2]
    probabilities = likelihoods / likelihoods.sum(axis=1, keepdims=True)
    return [measure_classes(labels, probabilities, patients)]


def draw_numbers(rng: np.random.Generator, num_patients: int) -> list[Measured]:
    """A number of each patient, such as the age, predicted from either eye."""
    patients = np.repeat(np.arange(num_patients), 2)
    truth = rng.normal(60, 12, num_patients)[patients]
    errors = rng.normal(0, 5, num_patients)[patients] + rng.normal(0, 5, len(patients))
    return [measure_numbers(truth, 60 + 0.8 * (truth - 60) + errors, patients)]
