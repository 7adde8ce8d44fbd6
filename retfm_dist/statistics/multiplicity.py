"""Adjustment of p values for how many questions were asked."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from retfm_dist.statistics.clusters import FloatArray


def holm(p_values: FloatArray) -> FloatArray:
    """Return [K] p values that keep the chance of any false claim in the family below alpha.

    Args:
        p_values: [K] in [0, 1].

    Source: Holm 1979, Scandinavian Journal of Statistics 6(2), 65-70.
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(p_values[order] * factors).clip(max=1.0)
    return adjusted


def benjamini_hochberg(p_values: FloatArray) -> FloatArray:
    """Return [K] p values that keep the expected share of false claims below alpha.

    Args:
        p_values: [K] in [0, 1].

    Source: Benjamini and Hochberg 1995, doi 10.1111/j.2517-6161.1995.tb02031.x.
    """
    return stats.false_discovery_control(p_values, method="bh") if len(p_values) else p_values


def adjust(
    p_values: Sequence[float | None], method: Callable[[FloatArray], FloatArray]
) -> list[float | None]:
    """Return adjusted p values of one family; what was not tested stays None and does not count.

    Args:
        p_values: One per question.
        method: `holm` or `benjamini_hochberg`.
    """
    adjusted = iter(method(np.array([p for p in p_values if p is not None])).tolist())
    return [None if p is None else next(adjusted) for p in p_values]
