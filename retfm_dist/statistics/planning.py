"""What a test set of given size can show, before any model is run."""

import math

from scipy import special, stats

AUROC = 0.85
"""Assumed for planning."""
CORRELATION = 0.5
"""Of the AUROCs of two models on the same images: that of scores which correlate by 0.6."""
_POWER = 0.8


def auroc_error(num_positive: int, num_negative: int, *, auroc: float = AUROC) -> float:
    """Return the standard error that an AUROC will have.

    Args:
        num_positive: Independent positives; of correlated eyes, take patients.
        num_negative: Independent negatives.
        auroc: Expected value.

    Source: Hanley and McNeil 1982, doi 10.1148/radiology.143.1.7063747, with normal scores of equal
        variance in place of their exponential ones, which give a tenth more.
    """
    # Both of two positives score above one negative: differences from it correlate by 1/2.
    place = stats.norm.ppf(auroc)
    both = auroc - 2 * float(special.owens_t(place, 1 / math.sqrt(3)))
    variance = auroc * (1 - auroc) + (num_positive + num_negative - 2) * (both - auroc**2)
    return math.sqrt(variance / (num_positive * num_negative))


def smallest_margin(num_positive: int, num_negative: int, *, alpha: float = 0.05) -> float:
    """Return the smallest margin within which equivalence can be shown with a power of 80 %.

    (z(1 - alpha) + z(1 - (1 - power) / 2)) * SE of the difference, if there is no difference.

    Args:
        num_positive: Independent positives.
        num_negative: Independent negatives.
        alpha: Level of each of the two one-sided tests.

    Source: Chow, Shao and Wang 2008, Sample Size Calculations in Clinical Research, section 3.2.
    """
    error = auroc_error(num_positive, num_negative) * math.sqrt(2 * (1 - CORRELATION))
    return float(stats.norm.ppf(1 - alpha) + stats.norm.ppf(1 - (1 - _POWER) / 2)) * error
