"""Confidence intervals from a value and its variance, on the scale of its range.

An interval is symmetric on a scale without limits and is transformed back, so it never leaves the
range of its metric: the log odds for what lies in [0, 1], the inverse hyperbolic tangent for
correlations, the logarithm for what is positive. A share of images takes Wilson's interval at the
number of independent images that has the same variance, which stands at 0 and 1 too.

`docs/statistics.md` shows how often they cover the truth.
"""

import math
from dataclasses import dataclass
from typing import Literal

from retfm_dist.statistics.student import Student

Scale = Literal["share", "unit", "correlation", "positive", "plain"]
"""share: a share of images; unit: in [0, 1]; correlation: in [-1, 1]; positive: > 0."""

MIN_PATIENTS_PER_CLASS = 10
"""With fewer patients of a class than this, intervals were measured to miss the truth too often."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval, or why there is none.

    Attributes:
        low: Lower bound; None when there is no interval.
        high: Upper bound, likewise.
        note: Why there is none; empty when there is one.
    """

    low: float | None
    high: float | None
    note: str = ""


def no_interval(note: str) -> Interval:
    """Return the absence of an interval with its reason."""
    return Interval(None, None, note)


def make_interval(
    value: float,
    variance: float,
    *,
    scale: Scale,
    num_patients: int,
    alpha: float,
    reference: Student | None = None,
) -> Interval:
    """Return the interval of a metric, or why there is none.

    Args:
        value: The metric; NaN where it is undefined.
        variance: Its variance.
        scale: Its range.
        num_patients: Patients of the rarest class that the metric needs.
        alpha: 1 - coverage.
        reference: What the error is held against; None means Student's t with one degree of
            freedom less than the patients.
    """
    if math.isnan(value) or math.isnan(variance):
        return no_interval("undefined on these images")
    if num_patients < MIN_PATIENTS_PER_CLASS:
        return no_interval(
            f"insufficient: {num_patients} patients of the rarest class, an interval needs "
            f"{MIN_PATIENTS_PER_CLASS}"
        )
    quantile = (reference or Student(num_patients - 1)).quantile(1 - alpha / 2)
    if scale == "share":
        return _wilson(value, variance, num_patients=num_patients, quantile=quantile)
    if variance <= 0:
        return no_interval("insufficient: no patient changes the value, so its error is unknown")
    if scale == "plain":
        half = quantile * math.sqrt(variance)
        return Interval(value - half, value + half)
    low, high = {"unit": (0.0, 1.0), "correlation": (-1.0, 1.0), "positive": (0.0, math.inf)}[scale]
    if not low < value < high:
        return no_interval(f"insufficient: the value is {value:g}, the end of its range")
    return _transformed(value, math.sqrt(variance) * quantile, scale=scale)


def _transformed(value: float, half: float, *, scale: Scale) -> Interval:
    """Return the interval that is symmetric on the unlimited scale, by the delta method."""
    match scale:
        case "unit":
            center, half = math.log(value / (1 - value)), half / (value * (1 - value))
            return Interval(_expit(center - half), _expit(center + half))
        case "correlation":
            center, half = math.atanh(value), half / (1 - value**2)
            return Interval(math.tanh(center - half), math.tanh(center + half))
        case _:
            spread = math.exp(min(half / value, 700.0))
            return Interval(value / spread, value * spread)


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _wilson(share: float, variance: float, *, num_patients: int, quantile: float) -> Interval:
    """Return Wilson's interval at the effective number of independent images.

    At 0 and 1 the variance is 0 and says nothing; then each patient counts as one image.

    Source: Wilson 1927, doi 10.1080/01621459.1927.10502953; effective size as in Korn and Graubard
        1998, Survey Methodology 24(2).
    """
    spread = share * (1 - share)
    effective = spread / variance if variance > 0 and spread > 0 else float(num_patients)
    factor = quantile**2 / effective
    center = (share + factor / 2) / (1 + factor)
    half = quantile * math.sqrt(spread / effective + factor / (4 * effective)) / (1 + factor)
    return Interval(max(0.0, center - half), min(1.0, center + half))
