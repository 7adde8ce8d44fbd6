"""How often the 95 % intervals of all other metrics cover the truth, scores fixed or of seeds."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from benchmarks.simulations.cohorts import draw_labels, draw_scores, effect_of
from benchmarks.simulations.coverage import Covered
from retfm_dist.statistics.estimate import FIXED, Design, estimate
from retfm_dist.statistics.suite import Measurement, measure_classes, measure_numbers, scale_of

_TRUTH_PATIENTS, _TRUTH_DRAWS, _TRUTH_SEEDS = 2_000, 40, 8
"""Cohorts, and seeds in each, of whom the true value of a metric is the mean."""
_PREVALENCE = 0.35
_THRESHOLDS = {"spec": 0.6}
_OVERCONFIDENCE = 1.3
_SEEDS = ((5, 0.15, ""), (3, 0.15, ""), (3, 0.4, " far apart"), (2, 0.4, " far apart"))
"""How many, the standard deviation of their skill, and words for it."""
Measured = Mapping[str, Measurement]


@dataclass(frozen=True)
class MetricsCell:
    """One situation of several metrics.

    Attributes:
        kind: What is predicted.
        patients: Patients in all.
        draw: One cohort of so many patients, measured in one replicate or several.
        design: What the replicates are.
        spread: Standard deviation of the seeds' skill; 0 where there are none.
    """

    kind: str
    patients: int
    draw: Callable[[np.random.Generator, int], list[Measured]]
    design: Design = FIXED
    spread: float = 0.0

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.kind}, {self.patients} patients"

    def simulate(self, rng: np.random.Generator) -> dict[str, Covered]:
        """Return whether each metric's interval covers the truth; None where it has none."""
        truths, measured = self.true_values(), self.draw(rng, self.patients)
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

    def true_values(self) -> dict[str, float]:
        """Return what the intervals are to cover."""
        return _mean_over_seeds(self.spread) if self.spread else _mean_over_cohorts(self.draw)


def metrics_cells() -> Iterator[MetricsCell]:
    """Yield every situation."""
    seeds = Design("seeds")
    for patients in (60, 200, 800):
        yield MetricsCell("two classes", patients, draw_binary)
        yield MetricsCell("three grades", patients, draw_grades)
        yield MetricsCell("numbers", patients, draw_numbers)
        for num_seeds, spread, words in _SEEDS:
            kind = f"two classes, {num_seeds} seeds{words}"
            draw = partial(draw_seeds, num_seeds=num_seeds, spread=spread)
            yield MetricsCell(kind, patients, draw, seeds, spread)


@cache
def _mean_over_cohorts(
    draw: Callable[[np.random.Generator, int], list[Measured]],
) -> dict[str, float]:
    rng = np.random.default_rng(20)
    return _mean([item for _ in range(_TRUTH_DRAWS) for item in draw(rng, _TRUTH_PATIENTS)])


@cache
def _mean_over_seeds(spread: float) -> dict[str, float]:
    """Return the mean over seeds at equally likely skills, which a few at random would miss."""
    rng = np.random.default_rng(20)
    skills = spread * norm.ppf((np.arange(_TRUTH_SEEDS) + 0.5) / _TRUTH_SEEDS)
    return _mean(
        [
            item
            for _ in range(_TRUTH_DRAWS)
            for item in _judge_seeds(rng, _TRUTH_PATIENTS, skills=skills)
        ]
    )


def _mean(replicates: list[Measured]) -> dict[str, float]:
    names = replicates[0]
    return {name: float(np.mean([item[name].value for item in replicates])) for name in names}


def draw_binary(rng: np.random.Generator, num_patients: int) -> list[Measured]:
    """Two classes at an AUROC of 0.85, from a model that is too sure of itself."""
    labels, patients = draw_labels(rng, num_patients, _PREVALENCE)
    effect = effect_of(0.85)
    return [_measure_scores(labels, patients, draw_scores(rng, labels, patients, effect), effect)]


def draw_seeds(
    rng: np.random.Generator, num_patients: int, *, num_seeds: int, spread: float
) -> list[Measured]:
    """The same images judged by trainings whose skill differs by the seed."""
    skills = spread * rng.normal(size=num_seeds)
    return _judge_seeds(rng, num_patients, skills=skills)


def _judge_seeds(rng: np.random.Generator, num_patients: int, *, skills: NDArray) -> list[Measured]:
    labels, patients = draw_labels(rng, num_patients, _PREVALENCE)
    effect = effect_of(0.85)
    common = draw_scores(rng, labels, patients, 0.0)
    measured = []
    for skill in skills:
        own = np.sqrt(0.9) * common + np.sqrt(0.1) * rng.normal(size=len(labels))
        scores = own + (effect + skill) * labels
        measured.append(_measure_scores(labels, patients, scores, effect))
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
