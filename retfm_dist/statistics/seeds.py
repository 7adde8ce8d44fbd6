"""Differences between two models that were trained with several seeds."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from retfm_dist.statistics.clusters import FloatArray
from retfm_dist.statistics.metric import Metric


@dataclass(frozen=True)
class WelchTest:
    """The test of seed means that papers often report.

    It takes the test patients as given: its p value speaks of these patients alone, and becomes
    small for any difference when the seeds agree.

    Attributes:
        value: Mean over the seeds of a minus that of b.
        p: Two-sided p value.
    """

    value: float
    p: float


def welch_test(values_a: FloatArray, values_b: FloatArray) -> WelchTest | None:
    """Compare [R] values of one model with [R'] of another; None below two seeds each.

    Source: Welch 1947, doi 10.1093/biomet/34.1-2.28.
    """
    if min(len(values_a), len(values_b)) < 2 or np.ptp(values_a) + np.ptp(values_b) == 0:
        return None
    p = np.asarray(stats.ttest_ind(values_a, values_b, equal_var=False))[1]
    return WelchTest(float(values_a.mean() - values_b.mean()), float(p))


def two_level_bootstrap(
    metrics_a: list[Metric], metrics_b: list[Metric], draws: FloatArray, *, seed: int
) -> FloatArray:
    """Return [B] differences a - b over resampled seeds and resampled patients.

    Both models are judged on the same resampled patients; their seeds are drawn apart.

    Args:
        metrics_a: R replicates of one model.
        metrics_b: R' of the other, on the same patients.
        draws: [B, P] from `bootstrap.patient_resamples`.
        seed: Of the draw of seeds.
    """
    generator = np.random.default_rng(seed)
    means = []
    for metrics in (metrics_a, metrics_b):
        count = len(metrics)
        values = np.stack([metric.values(draws) for metric in metrics], axis=1)  # [B, R]
        chosen = generator.multinomial(count, np.full(count, 1 / count), size=len(draws))
        means.append((values * chosen).sum(axis=1) / count)
    return means[0] - means[1]
