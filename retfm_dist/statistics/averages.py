"""Mean of estimates from test sets that may share patients."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retfm_dist.statistics.equivalence import PairedEstimate
from retfm_dist.statistics.estimate import Estimate


def average(estimates: Sequence[Estimate], patients: Sequence[NDArray]) -> Estimate:
    """Return the mean of estimates, each counting the same.

    What a patient does to several of them adds up before it is squared. What refits and seeds add
    is taken to go together in all of them, as it does where one model is tested on several sets;
    elsewhere the variance is too large rather than too small.

    Args:
        estimates: One per test set, at least one.
        patients: The names of the patients of each, in the order of its influences.
    """
    codes = np.unique(np.concatenate(patients), return_inverse=True)[1]
    influence = np.bincount(codes, np.concatenate([item.influence for item in estimates]))
    influence = influence / len(estimates)
    fixed = float((influence**2).sum())
    beside = np.mean([max(item.variance - item.fixed_variance, 0.0) ** 0.5 for item in estimates])
    return Estimate(
        value=float(np.mean([item.value for item in estimates])),
        influence=influence,
        variance=fixed + float(beside) ** 2,
        fixed_variance=fixed,
        num_seeds=min((item.num_seeds for item in estimates if item.num_seeds), default=0),
    )


def average_paired(items: Sequence[PairedEstimate], patients: Sequence[NDArray]) -> PairedEstimate:
    """Return the mean of paired estimates on one scale, as `average`."""
    return PairedEstimate(
        average([item.difference for item in items], patients),
        average([item.first for item in items], patients),
        average([item.second for item in items], patients),
        items[0].scale,
    )
