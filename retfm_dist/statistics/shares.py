"""Share of cases in which something holds, where cases come in groups that go together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class Share:
    """A share with its interval.

    Attributes:
        value: The share.
        low: Lower end; None where all cases are one group.
        high: Upper end, likewise.
        num_groups: Groups that are independent of each other.
    """

    value: float
    low: float | None
    high: float | None
    num_groups: int


def clustered_share(holds: NDArray[np.bool_], groups: NDArray, *, alpha: float) -> Share:
    """Return a share with an exact interval at the number of cases that the groups are worth.

    The interval is that of Clopper and Pearson for n* cases, where n* has the share's own
    variance p (1 - p) / n* over the groups, is lowered for the few groups that the variance is
    known from, and is at most the number of cases. Where all cases agree, that variance shows
    nothing of how groups go together: then n* is the number of groups.

    Args:
        holds: [N] whether it holds in each case.
        groups: [N] codes 0 .. G-1.
        alpha: 1 - coverage.

    Source: Korn and Graubard 1998, "Confidence intervals for proportions with small expected number
    of positive counts estimated from survey data", Survey Methodology 24, 193-201; Clopper and
    Pearson 1934, doi 10.1093/biomet/26.4.404.
    """
    num_cases, num_groups = len(holds), int(groups.max()) + 1
    value = float(holds.mean())
    if num_groups < 2:
        return Share(value, None, None, num_groups)
    sums = np.bincount(groups, holds - value)
    variance = num_groups / (num_groups - 1) * float((sums**2).sum()) / num_cases**2
    if value in (0.0, 1.0):
        worth = float(num_groups)
    elif variance == 0:
        worth = float(num_cases)
    else:
        quantiles = stats.t.ppf(1 - alpha / 2, [num_cases - 1, num_groups - 1])
        worth = value * (1 - value) / variance * float(quantiles[0] / quantiles[1]) ** 2
        worth = min(worth, float(num_cases))
    count = value * worth
    low = 0.0 if value == 0 else float(stats.beta.ppf(alpha / 2, count, worth - count + 1))
    high = 1.0 if value == 1 else float(stats.beta.ppf(1 - alpha / 2, count + 1, worth - count))
    return Share(value, low, high, num_groups)
