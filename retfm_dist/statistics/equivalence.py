"""Whether two values are equivalent, near the ends of their range too.

The variance of an AUROC of 0.99 is small because it is near 1, and smaller still in the samples
that happen to be nearer. Two one-sided tests by Student's t then claim equivalence within 0.02 of
0.999 and 0.979 in 20 % of cohorts of 60 patients. So the interval of the difference is made from
those of the two values, each on the scale of its range (MOVER), and the larger p value counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import optimize

from retfm_dist.statistics.clusters import FloatArray
from retfm_dist.statistics.estimate import Design, Estimate, estimate
from retfm_dist.statistics.intervals import Scale, make_interval

_SMALLEST_P = 1e-12


@dataclass(frozen=True)
class PairedEstimate:
    """Two values on the same patients.

    Attributes:
        difference: First minus second.
        first: The one.
        second: The other.
        scale: The range of either.
    """

    difference: Estimate
    first: Estimate
    second: Estimate
    scale: Scale

    def turned(self, sign: int) -> "PairedEstimate":
        """Return the estimate of the difference times `sign`, 1 or -1."""
        if sign == 1:
            return self
        return PairedEstimate(self.difference.turned(-1), self.second, self.first, self.scale)


def pair_estimates(
    values: Sequence[FloatArray], influences: Sequence[FloatArray], design: Design, *, scale: Scale
) -> PairedEstimate:
    """Combine the replicates of two values and of their difference; see `estimate`.

    Args:
        values: [2][R] each value in each replicate.
        influences: [2][R, P] influence of each patient in each.
        design: What the replicates are.
        scale: The range of either value.
    """
    return PairedEstimate(
        estimate(values[0] - values[1], influences[0] - influences[1], design),
        estimate(values[0], influences[0], design),
        estimate(values[1], influences[1], design),
        scale,
    )


def equivalence_p(paired: PairedEstimate, *, margin: float, num_patients: int) -> float:
    """Return the p value of |true difference| >= margin.

    Where no patient tells the two apart, it is the chance that none would if pairs of patients did
    so with probability `margin`, without which the difference cannot be as large.

    Args:
        paired: The two values.
        margin: Largest difference that does not matter, > 0.
        num_patients: Patients of the rarest class, at least `MIN_PATIENTS_PER_CLASS`.

    Source: Schuirmann 1987, doi 10.1007/BF01068419 (two one-sided tests); Zou and Donner 2008, doi
        10.1002/sim.3095 (MOVER); Hanley and Lippman-Hand 1983, doi
        10.1001/jama.1983.03330370053031 (no event in n).
    """
    difference = paired.difference
    if difference.variance <= 0:
        return (1 - margin) ** num_patients
    error, reference = math.sqrt(difference.variance), difference.reference(num_patients)
    by_student = reference.tail((margin - abs(difference.value)) / error)
    if by_student >= 0.5:
        return by_student

    def outside(p: float) -> float:
        """Return how far the 1 - 2 p interval reaches beyond the margin."""
        low, high = mover_bounds(paired, num_patients=num_patients, p=p)
        return max(high, -low) - margin

    if outside(_SMALLEST_P) <= 0:
        return by_student
    if outside(0.5) >= 0:
        return 1.0
    found = optimize.root_scalar(outside, bracket=(_SMALLEST_P, 0.5), xtol=1e-9)
    return max(by_student, float(found.root))


def mover_bounds(paired: PairedEstimate, *, num_patients: int, p: float) -> tuple[float, float]:
    """Return the bounds of a difference from those of its two values.

    Args:
        paired: The two values; the variance of their difference tells how they go together.
        num_patients: Patients of the rarest class, at least `MIN_PATIENTS_PER_CLASS`.
        p: Chance of missing the truth at either end.
    """
    first, second, value = paired.first, paired.second, paired.difference.value
    (low_a, high_a), (low_b, high_b) = (
        _bounds(part, scale=paired.scale, num_patients=num_patients, p=p)
        for part in (first, second)
    )
    spread = 2 * math.sqrt(first.variance * second.variance)
    together = first.variance + second.variance - paired.difference.variance
    correlation = min(max(together / spread, -1.0), 1.0) if spread > 0 else 0.0

    def distance(x: float, y: float) -> float:
        return math.sqrt(max(x**2 - 2 * correlation * x * y + y**2, 0.0))

    return (
        value - distance(first.value - low_a, high_b - second.value),
        value + distance(high_a - first.value, second.value - low_b),
    )


def _bounds(part: Estimate, *, scale: Scale, num_patients: int, p: float) -> tuple[float, float]:
    """Return the bounds of one value; at the end of its range, as if no event was seen."""
    interval = make_interval(
        part.value,
        part.variance,
        scale=scale,
        num_patients=num_patients,
        alpha=2 * p,
        reference=part.reference(num_patients),
    )
    if interval.low is not None and interval.high is not None:
        return interval.low, interval.high
    reach = 1 - p ** (1 / num_patients)
    return part.value - reach, part.value + reach
