"""Random-effects meta-analysis: one difference over several data sets."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from retfm_dist.statistics.clusters import FloatArray


@dataclass(frozen=True)
class PooledEffect:
    """A pooled difference.

    Attributes:
        value: Mean effect.
        low: Lower bound of its interval.
        high: Upper bound.
        p: Two-sided p value of no mean effect.
        tau2: Variance of the true effects between data sets.
        i2: Share of the observed variation that is not sampling error.
    """

    value: float
    low: float
    high: float
    p: float
    tau2: float
    i2: float


def pool_effects(effects: FloatArray, variances: FloatArray, *, alpha: float) -> PooledEffect:
    """Pool the effects of at least two data sets.

    Args:
        effects: [K] one per data set, independent.
        variances: [K] their sampling variances, > 0.
        alpha: 1 - coverage.

    Source: DerSimonian and Laird 1986, doi 10.1016/0197-2456(86)90046-2; interval by Hartung and
        Knapp 2001, doi 10.1002/sim.791, never narrower than with its variance factor at 1 (Rover
        et al. 2015, doi 10.1186/s12874-015-0091-1).
    """
    num_sets = len(effects)
    weights = 1 / variances
    mean = (weights * effects).sum() / weights.sum()
    q = float((weights * (effects - mean) ** 2).sum())
    scale = weights.sum() - (weights**2).sum() / weights.sum()
    tau2 = max(0.0, (q - (num_sets - 1)) / float(scale))
    weights = 1 / (variances + tau2)
    value = float((weights * effects).sum() / weights.sum())
    factor = max(1.0, float((weights * (effects - value) ** 2).sum()) / (num_sets - 1))
    error = float(np.sqrt(factor / weights.sum()))
    half = float(stats.t.ppf(1 - alpha / 2, num_sets - 1)) * error
    p = 2 * float(stats.t.sf(abs(value) / error, num_sets - 1))
    return PooledEffect(
        value, value - half, value + half, p, tau2, max(0.0, (q - (num_sets - 1)) / q) if q else 0.0
    )
