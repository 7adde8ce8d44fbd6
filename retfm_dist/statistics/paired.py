"""Comparison of two models on the same images: difference, permutation test, verdict."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from retfm_dist.statistics.auroc import weighted_auroc
from retfm_dist.statistics.clusters import FloatArray
from retfm_dist.statistics.equivalence import PairedEstimate, equivalence_p
from retfm_dist.statistics.intervals import MIN_PATIENTS_PER_CLASS, Interval

Verdict = Literal["superior", "equivalent", "inferior", "inconclusive", "insufficient"]


@dataclass(frozen=True)
class PairedTest:
    """A difference a - b and what it supports.

    Attributes:
        value: The difference, so that more is better for a.
        interval: 1 - alpha.
        p: Two-sided p value of no difference, by Student's t; None with too few patients.
        p_equivalence: p value of |difference| >= margin.
        verdict: What may be claimed at level alpha.
    """

    value: float
    interval: Interval
    p: float | None
    p_equivalence: float | None
    verdict: Verdict


def judge_difference(
    paired: PairedEstimate, *, margin: float, num_patients: int, alpha: float
) -> PairedTest:
    """Test a difference against zero and against a margin.

    The verdict is "superior" or "inferior" where the 1 - alpha interval leaves out zero,
    "equivalent" where `equivalence_p` is at most alpha, and "inconclusive" otherwise. A difference
    can be both; then it is reported as equivalent, for it is too small to matter.

    Args:
        paired: Of a and b, turned so that a larger difference is better for a.
        margin: Largest difference that does not matter, > 0.
        num_patients: Patients of the rarest class.
        alpha: Level of either test.
    """
    difference = paired.difference
    value, variance = difference.value, difference.variance
    is_undefined = math.isnan(value) or math.isnan(variance)
    is_small = num_patients < MIN_PATIENTS_PER_CLASS or difference.has_too_few_seeds
    if is_undefined or is_small:
        interval = difference.interval(scale="plain", num_patients=num_patients, alpha=alpha)
        return PairedTest(value, interval, None, None, "insufficient")
    interval = difference.interval(scale="plain", num_patients=num_patients, alpha=alpha)
    p_equivalence = equivalence_p(paired, margin=margin, num_patients=num_patients)
    p = 1.0
    if variance > 0:
        p = 2 * difference.reference(num_patients).tail(abs(value) / math.sqrt(variance))
    verdict: Verdict = "inconclusive"
    if p_equivalence <= alpha:
        verdict = "equivalent"
    elif p <= alpha:
        verdict = "superior" if value > 0 else "inferior"
    return PairedTest(value, interval, p, p_equivalence, verdict)


def adjusted_verdict(verdict: Verdict, p: float | None, *, alpha: float) -> Verdict:
    """Return what may still be claimed once the number of comparisons is counted.

    Args:
        verdict: Of one comparison by itself.
        p: Its p value, adjusted for the family.
        alpha: Level.
    """
    is_claim = verdict in ("superior", "inferior")
    return "inconclusive" if is_claim and (p is None or p > alpha) else verdict


def permute_ranks(
    labels: NDArray,
    scores_a: FloatArray,
    scores_b: FloatArray,
    patients: NDArray,
    *,
    num_permutations: int,
    seed: int,
) -> FloatArray:
    """Return [B] differences of AUROC after exchanging the models in random patients.

    Scores are replaced by their ranks first, so that a patient's scores under one model can stand
    among the other's.

    Args:
        labels: [N] 1 = positive, 0 = negative.
        scores_a: [N].
        scores_b: [N].
        patients: [N] codes 0 .. P-1.
        num_permutations: B.
        seed: Of this test alone.

    Source: Venkatraman and Begg 1996, doi 10.1093/biomet/83.4.835 (exchange of ranks).
    """
    ranks = stats.rankdata(scores_a), stats.rankdata(scores_b)
    generator = np.random.default_rng(seed)
    ones = np.ones((1, len(labels)))
    differences = np.empty(num_permutations)
    for b in range(num_permutations):
        swapped = generator.integers(0, 2, int(patients.max()) + 1, np.int8)[patients] == 1
        first = np.where(swapped, ranks[1], ranks[0])
        second = np.where(swapped, ranks[0], ranks[1])
        differences[b] = (
            weighted_auroc(labels, first, ones)[0] - weighted_auroc(labels, second, ones)[0]
        )
    return differences


def permutation_p(observed: float, permuted: FloatArray) -> float:
    """Return the two-sided p value of an observed difference, never 0.

    Source: Phipson and Smyth 2010, doi 10.2202/1544-6115.1585.
    """
    # Sums in another order differ in the last digits; a tie counts against a claim.
    extreme = np.abs(permuted) >= abs(observed) - 1e-12
    return float((1 + extreme.sum()) / (1 + len(permuted)))
