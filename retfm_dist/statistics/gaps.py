"""Differences between groups of patients: the gap, its value under a fair model, its uncertainty.

The largest difference between groups is above zero even for a fair model, the more so the smaller
and the more numerous the groups. So a gap is set against its distribution when group labels are
exchanged between patients of the same outcome.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from retfm_dist.statistics.auroc import weighted_auroc
from retfm_dist.statistics.clusters import FloatArray, patient_labels
from retfm_dist.statistics.metric import AdditiveMetric, Metric

_CHUNK_VALUES = 2_000_000


@dataclass(frozen=True)
class GapTest:
    """A gap between groups against a fair model.

    Attributes:
        gap: Largest minus smallest value over the groups.
        expected: Mean gap when group labels are exchanged.
        excess: `gap - expected`.
        upper: 95th percentile of the gap when group labels are exchanged.
        p: Share of exchanges with a gap at least as large.
    """

    gap: float
    expected: float
    excess: float
    upper: float
    p: float


def group_values(metric: Metric, groups: NDArray, num_groups: int) -> FloatArray:
    """Return [G] the metric in each group; `groups` [P] are codes, -1 for none."""
    return metric.values((groups[None, :] == np.arange(num_groups)[:, None]).astype(np.float64))


def gap_test(
    metric: Metric,
    groups: NDArray,
    outcomes: NDArray,
    *,
    num_groups: int,
    num_permutations: int,
    seed: int,
) -> GapTest:
    """Test the gap of a metric between groups of patients.

    Args:
        metric: Of P patients.
        groups: [P] group of each patient, 0 .. G-1, or -1 for those that are left out.
        outcomes: [P] stratum within which group labels are exchanged, such as the label.
        num_groups: G >= 2.
        num_permutations: B.
        seed: Of this test alone.

    Source: permutation within outcome as in Good 2005, Permutation, Parametric and Bootstrap Tests
        of Hypotheses, section 4; p as in Phipson and Smyth 2010, doi 10.2202/1544-6115.1585.
    """
    gap = float(np.ptp(group_values(metric, groups, num_groups)))
    generator = np.random.default_rng(seed)
    strata = [np.flatnonzero((outcomes == o) & (groups >= 0)) for o in np.unique(outcomes)]
    gaps = np.empty(num_permutations)
    rows = max(1, _CHUNK_VALUES // (num_groups * len(groups)))
    for start in range(0, num_permutations, rows):
        count = min(rows, num_permutations - start)
        shuffled = np.tile(groups, (count, 1))
        for members in strata:
            shuffled[:, members] = generator.permuted(shuffled[:, members], axis=1)
        weights = shuffled[:, None, :] == np.arange(num_groups)[None, :, None]
        values = metric.values(weights.reshape(-1, len(groups)).astype(np.float64))
        gaps[start : start + count] = np.ptp(values.reshape(count, num_groups), axis=1)
    known = gaps[~np.isnan(gaps)]
    expected = float(known.mean())
    return GapTest(
        gap=gap,
        expected=expected,
        excess=gap - expected,
        upper=float(np.quantile(known, 0.95)),
        p=float((1 + (known >= gap - 1e-12).sum()) / (1 + len(known))),
    )


def es_auc(overall: float, groups: FloatArray) -> float:
    """Return the equity-scaled AUROC: overall / (1 + sum of |overall - group|).

    Source: Luo et al. 2024, FairVision, arXiv:2310.02492.
    """
    return overall / (1 + float(np.abs(overall - groups).sum()))


@dataclass(frozen=True)
class Heterogeneity:
    """Whether a difference between two models is the same in all groups.

    Where it is, both models have the same gaps between any two groups.

    Attributes:
        q: Weighted sum of squares around the common difference.
        p: Its p value, by F with the patients of the smallest group.
    """

    q: float
    p: float


def compare_gaps(
    differences: FloatArray, variances: FloatArray, num_patients: int
) -> Heterogeneity:
    """Test whether the differences of two models vary between disjoint groups.

    Args:
        differences: [G] model a minus model b in each group.
        variances: [G] their variances, > 0.
        num_patients: Patients of the rarest class in the smallest group.

    Source: Cochran 1954, doi 10.2307/3001666, with the F distribution for estimated variances.
    """
    weights = 1 / variances
    common = (weights * differences).sum() / weights.sum()
    q = float((weights * (differences - common) ** 2).sum())
    between = len(differences) - 1
    return Heterogeneity(q, float(stats.f.sf(q / between, between, max(num_patients - 1, 1))))


@dataclass(frozen=True)
class OddsGap:
    """Equalized odds: the larger of the gaps in sensitivity and in false positive rate.

    Attributes:
        value: The gap; 0 is equal odds.
        low: Lower bound.
        high: Upper bound.
    """

    value: float
    low: float
    high: float


def equalized_odds(
    rates: FloatArray, variances: FloatArray, *, num_patients: int, alpha: float
) -> OddsGap:
    """Return the equalized odds difference with an interval that covers at least 1 - alpha.

    Every pair of groups and either rate gets an interval at alpha divided by their number
    (Bonferroni); the gap lies between the largest of the lower and the largest of the upper bounds
    of the absolute differences.

    Args:
        rates: [2, G] sensitivity and false positive rate of each group.
        variances: [2, G] their variances.
        num_patients: Patients of the rarest class in the smallest group.
        alpha: 1 - coverage.

    Source: Hardt et al. 2016, arXiv:1610.02413 (equalized odds).
    """
    first, second = np.triu_indices(rates.shape[1], 1)
    differences = rates[:, first] - rates[:, second]
    errors = np.sqrt(variances[:, first] + variances[:, second])
    quantile = stats.t.ppf(1 - alpha / 2 / differences.size, max(num_patients - 1, 1))
    low = np.maximum(np.abs(differences) - quantile * errors, 0.0)
    high = np.abs(differences) + quantile * errors
    return OddsGap(float(np.abs(differences).max()), float(low.max()), min(1.0, float(high.max())))


def standardized_auroc(
    labels: NDArray, scores: FloatArray, strata: NDArray, group: NDArray, reference: FloatArray
) -> float:
    """Return the AUROC of a group as if its images were distributed over strata like all images.

    Args:
        labels: [N] 1 = positive, 0 = negative.
        scores: [N].
        strata: [N] codes 0 .. S-1 of a declared confounder, such as age band and device.
        group: [N] whether an image belongs to the group.
        reference: [2, S] share of each stratum among all negatives and all positives.

    Returns:
        NaN where the group lacks a stratum that others have: nothing can stand in for it.
    """
    weights = np.zeros(len(labels))
    for label in (0, 1):
        inside = group & (labels == label)
        counts = np.bincount(strata[inside], minlength=reference.shape[1])
        if ((reference[label] > 0) & (counts == 0)).any():
            return float("nan")
        weights[inside] = reference[label][strata[inside]] / counts[strata[inside]]
    return float(weighted_auroc(labels, scores, weights[None, :])[0])


def outcomes_of(labels: NDArray, patients: NDArray) -> NDArray:
    """Return [P] the stratum to exchange group labels within: label and number of images."""
    counts = np.bincount(patients)
    return patient_labels(labels, patients) * (counts.max() + 1) + counts


def rate_variance(metric: AdditiveMetric, weights: NDArray) -> float:
    """Return the variance of an additive metric among the patients of weight 1."""
    members = AdditiveMetric(metric.sums[weights > 0], metric.function)
    return float((members.influence() ** 2).sum())
