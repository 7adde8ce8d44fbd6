"""Variance of a metric, counting whatever was done again: folds, fits, seeds.

Predictions come in replicates: one for a fixed predictor, one per repeat of a cross-validation,
one per training seed. The value is the mean over replicates; its variance depends on what the
replicates are (`Design`).

**Cross-validation.** Each image is predicted by a fit on the other patients, and patient i is a
test patient once and a training patient of all the others. Written as a sum over pairs (Hoeffding
1948, doi 10.1214/aoms/1177730196), the contribution of the pair (i, j) appears twice, once with
either as the test patient, while the variance of fixed scores counts it once. What is missing is
the variance of those pair terms. It shows in the repeats: with other training patients the
contribution of patient i varies, and a training set that is a random share f = (K - 1) / K of the
others has, over repeats, (1 - f) / f = 1 / (K - 1) of the variance that a new training set has.
So

    V = sum_i mean_r(c_ir)^2 + g * min((K - 1) * sum_i var_r(c_ir), sum_i mean_r(c_ir)^2)

with c_ir the influence of patient i in repeat r. The minimum is the variance of the pair terms,
which cannot exceed that of fixed scores, of which it is a part: without any signal all of the
variance is in the pairs. A pair counts twice as far as what i does to j's score and what j does to
i's go together, their correlation g: 1 for linear models, whose V is then twice the variance of
fixed scores without a signal, and less for a vote of neighbors (`statistics.reciprocity`). The
truth it is an error of is the mean performance of the fits that were made, on new patients.

**Seeds.** Trainings and patients are crossed: each patient is judged by each training. The spread
of R values over the seeds holds what a seed does to all patients and what it does to each; the
second stands in the sampling of patients too and is counted once (Obuchowski and Rockette 1995,
doi 10.1080/03610919508813243, where readers are what seeds are here):

    V = var_r(A_r) / R + max(sum_i mean_r(c_ir)^2 - sum_i var_r(c_ir) / R, 0)

and never less than sum_i mean_r(c_ir)^2, the variance for these seeds. The first term is known
by the seeds alone, with R - 1 degrees of freedom; two seeds are too few. `docs/statistics.md` has
the simulations.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from retfm_dist.statistics.clusters import FloatArray
from retfm_dist.statistics.intervals import Interval, Scale, make_interval, no_interval
from retfm_dist.statistics.student import Student

MIN_REPEATS = 5
"""Repeats of a cross-validation below which the variance over them says too little."""
MIN_SEEDS = 3
"""Below it the intervals over seeds were measured to cover 93 to 98 %, by how far seeds differ."""


@dataclass(frozen=True)
class Design:
    """What the replicates of predictions are.

    Attributes:
        kind: "fixed": one predictor that never saw these patients; "cross_validation": repeats of
            one; "seeds": trainings with different seeds, judged on the same patients.
        num_folds: K of the cross-validation; 0 otherwise.
        reciprocity: g of the fits, in [0, 1]; the interval of a cross-validation is too wide rather
            than too short where it is unknown and taken as 1.
    """

    kind: Literal["fixed", "cross_validation", "seeds"]
    num_folds: int = 0
    reciprocity: float = 1.0

    def describe(self, num_replicates: int) -> str:
        """Return what the interval counts, in words."""
        match self.kind:
            case "fixed":
                return "sampling of patients"
            case "seeds":
                if num_replicates == 1:
                    return "sampling of patients, of one training seed"
                return f"sampling of patients and {num_replicates} training seeds"
            case "cross_validation":
                folds = f"{num_replicates} x {self.num_folds} folds"
                if num_replicates < MIN_REPEATS:
                    return f"sampling of patients, refits at their largest effect, {folds}"
                return f"sampling of patients and refits, {folds}"


FIXED = Design("fixed")


@dataclass(frozen=True)
class Estimate:
    """A value with its variance.

    Attributes:
        value: Mean over replicates; NaN where the metric is undefined.
        influence: [P] mean influence of each patient.
        variance: Its variance, everything counted.
        fixed_variance: The part that would remain if the scores were fixed, or the seeds countless.
        num_seeds: Trainings whose spread is part of the variance; 0 without.
    """

    value: float
    influence: FloatArray
    variance: float
    fixed_variance: float
    num_seeds: int = 0

    def turned(self, sign: int) -> "Estimate":
        """Return the estimate of the value times `sign`, 1 or -1."""
        return replace(self, value=sign * self.value, influence=sign * self.influence)

    def reference(self, num_patients: int) -> Student:
        """Return what its error is held against: few patients or seeds say little of their spread.

        Args:
            num_patients: Patients of the rarest class, at least 2.
        """
        degrees = degrees_of_freedom(self.influence, at_least=num_patients - 1)
        of_seeds = self.variance - self.fixed_variance
        if self.num_seeds < 2 or of_seeds <= 0:
            return Student(degrees)
        # Also of what the patients explain of the spread of the seeds: without it, tests of paired
        # differences, where that is most of it, were simulated to claim falsely in up to 9 %.
        return Student(degrees, of_seeds / self.variance, self.num_seeds - 1)

    @property
    def has_too_few_seeds(self) -> bool:
        """Whether so few seeds allow no statement about others."""
        return 1 < self.num_seeds < MIN_SEEDS

    def interval(self, *, scale: Scale, num_patients: int, alpha: float) -> Interval:
        """Return its interval, or why there is none; see `intervals.make_interval`."""
        if self.has_too_few_seeds:
            return no_interval(
                f"insufficient: {self.num_seeds} training seeds, an interval needs {MIN_SEEDS}"
            )
        return make_interval(
            self.value,
            self.variance,
            scale=scale,
            num_patients=num_patients,
            alpha=alpha,
            reference=self.reference(max(num_patients, 2)),
        )


def degrees_of_freedom(influence: FloatArray, *, at_least: float) -> float:
    """Return how much a variance is known: as a chi-square of so many degrees of freedom is.

    The variance is the sum of squares of the influences, whose own variance shows in their fourth
    powers. Few patients whose influence is large, as those of a rare class, count for few.

    Args:
        influence: [P] of each patient.
        at_least: Smallest value returned; the largest is P - 1.

    Source: Pan and Wall 2002, doi 10.1002/sim.1142, after Satterthwaite 1946.
    """
    squares = influence**2
    spread = float(((squares - squares.mean()) ** 2).sum())
    most = max(float(len(influence) - 1), at_least)
    if spread <= 0:
        return most
    return min(max(2 * float(squares.sum()) ** 2 / spread, at_least), most)


def estimate(values: FloatArray, influences: FloatArray, design: Design) -> Estimate:
    """Combine the replicates of a metric, or of a difference of metrics.

    Args:
        values: [R] the metric in each replicate.
        influences: [R, P] influence of each patient in each.
        design: What the replicates are.
    """
    influence, value = influences.mean(axis=0), float(np.mean(values))
    fixed = float((influence**2).sum())
    if design.kind == "seeds" and len(values) > 1:
        of_seeds = float(np.var(values, ddof=1)) / len(values)
        of_both = float(influences.var(axis=0, ddof=1).sum()) / len(values)
        variance = max(of_seeds + max(fixed - of_both, 0.0), fixed)
        return Estimate(value, influence, variance, variance - of_seeds, len(values))
    refits = _refit_variance(influences, design, fixed)
    return Estimate(value, influence, fixed + refits, fixed)


def _refit_variance(influences: FloatArray, design: Design, fixed: float) -> float:
    """Return the variance that refits add to that of fixed scores, `fixed`."""
    if design.kind != "cross_validation":
        return 0.0
    pairs = fixed
    if len(influences) >= MIN_REPEATS:
        between = float(influences.var(axis=0, ddof=1).sum())
        pairs = min((design.num_folds - 1) * between, fixed)
    return design.reciprocity * pairs
