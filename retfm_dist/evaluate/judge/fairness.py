"""Differences between groups of patients in the predictions of one model, and of two."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retfm_dist.evaluate.judge.compare import Comparison, compare_metrics
from retfm_dist.evaluate.judge.groups import Grouping
from retfm_dist.evaluate.judge.measure import Scored, keep_images, score
from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.statistics.auroc import auroc, auroc_metric
from retfm_dist.statistics.bootstrap import seed_for
from retfm_dist.statistics.classification import decision_metric, sensitivity, specificity
from retfm_dist.statistics.clusters import code_patients, fewest_patients
from retfm_dist.statistics.gaps import (
    GapTest,
    Heterogeneity,
    OddsGap,
    compare_gaps,
    equalized_odds,
    es_auc,
    gap_test,
    outcomes_of,
    rate_variance,
    standardized_auroc,
)
from retfm_dist.statistics.intervals import MIN_PATIENTS_PER_CLASS
from retfm_dist.statistics.suite import standardize_within

SHOWN = (
    "auroc", "sensitivity_at_spec90", "specificity_at_spec90", "calibration_slope",
    "calibration_intercept", "brier",
)  # fmt: skip
THRESHOLD = "spec90"
RATES = (f"sensitivity_at_{THRESHOLD}", f"specificity_at_{THRESHOLD}")


@dataclass(frozen=True)
class GroupScore:
    """One group of patients.

    Attributes:
        name: The group.
        num_images: Its images.
        num_positive_images: The positive ones of them.
        num_patients: Its patients.
        num_positive_patients: Patients with a positive image.
        rarest: Patients of the rarer class.
        scored: Metrics; empty where it is too small to be judged.
        standardized: AUROC as if its images were distributed over the confounders as all images
            are; None without confounders, NaN where it lacks a stratum.
    """

    name: str
    num_images: int
    num_positive_images: int
    num_patients: int
    num_positive_patients: int
    rarest: int
    scored: Mapping[str, Scored]
    standardized: float | None

    @property
    def is_judged(self) -> bool:
        """Whether it has enough patients of either class."""
        return bool(self.scored)


@dataclass(frozen=True)
class GroupingScore:
    """The groups of one attribute.

    Attributes:
        grouping: The attribute.
        groups: Its groups.
        gap: Of the AUROC, against a fair model; None below two groups that can be judged.
        odds: Equalized odds at the threshold from validation; None without one.
        es_auc: Equity-scaled AUROC, likewise.
    """

    grouping: Grouping
    groups: tuple[GroupScore, ...]
    gap: GapTest | None
    odds: OddsGap | None
    es_auc: float | None

    @property
    def judged(self) -> list[int]:
        """Codes of the groups that can be judged."""
        return [code for code, group in enumerate(self.groups) if group.is_judged]

    @property
    def worst(self) -> str | None:
        """Name of the group with the lowest AUROC."""
        found = [group for group in self.groups if group.is_judged]
        return min(found, key=lambda group: group.scored["auroc"].value).name if found else None


@dataclass(frozen=True)
class FairnessOptions:
    """How groups are compared.

    Attributes:
        alpha: 1 - coverage, and level of the tests.
        num_permutations: Exchanges of group labels.
        seed: Of these.
        confounders: Columns over which groups are standardized.
    """

    alpha: float
    num_permutations: int
    seed: int
    confounders: tuple[str, ...] = ()


def judge_groups(
    item: Predictions,
    grouping: Grouping,
    thresholds: Mapping[str, float],
    options: FairnessOptions,
    strata: NDArray | None,
) -> GroupingScore:
    """Score every group of an attribute and test the gap between them.

    Args:
        item: Test images, two classes.
        grouping: Division of its patients.
        thresholds: Operating points from validation images.
        options: How.
        strata: [N] codes of the confounders' combinations; None without confounders.
    """
    patients = code_patients(item.subject_ids)
    image_codes = grouping.codes[patients]
    groups = tuple(
        _judge_group(item, name, image_codes == code, thresholds, options.alpha, strata)
        for code, name in enumerate(grouping.groups)
    )
    draft = GroupingScore(grouping, groups, None, None, None)
    judged = draft.judged
    if len(judged) < 2:
        return draft
    codes = _renumber(grouping.codes, judged)
    scores = _pooled_scores(item)
    gap = gap_test(
        auroc_metric(item.labels, scores, patients),
        codes,
        outcomes_of(item.labels, patients),
        num_groups=len(judged),
        num_permutations=options.num_permutations,
        seed=seed_for(options.seed, grouping.name),
    )
    values = np.array([groups[code].scored["auroc"].value for code in judged])
    threshold = thresholds.get(THRESHOLD)
    rarest = min(groups[code].rarest for code in judged)
    odds = (
        None
        if threshold is None
        else _odds(item, patients, codes, len(judged), threshold, rarest, options.alpha)
    )
    return GroupingScore(grouping, groups, gap, odds, es_auc(auroc(item.labels, scores), values))


def _judge_group(
    item: Predictions,
    name: str,
    inside: NDArray,
    thresholds: Mapping[str, float],
    alpha: float,
    strata: NDArray | None,
) -> GroupScore:
    labels = item.labels[inside]
    members = np.unique(item.subject_ids[inside], return_inverse=True)[1]
    has_both = len(np.unique(labels)) > 1
    rarest = fewest_patients(labels, members) if has_both else 0
    is_judged = rarest >= MIN_PATIENTS_PER_CLASS
    scored = (
        score(keep_images(item, inside), alpha=alpha, thresholds=thresholds) if is_judged else {}
    )
    return GroupScore(
        name,
        int(inside.sum()),
        int(labels.sum()),
        len(np.unique(members)),
        len(np.unique(members[labels == 1])),
        rarest,
        scored,
        _standardized(item, inside, strata) if is_judged and strata is not None else None,
    )


def _standardized(item: Predictions, inside: NDArray, strata: NDArray) -> float:
    count = int(strata.max()) + 1
    reference = np.array(
        [
            np.bincount(strata[item.labels == k], minlength=count) / (item.labels == k).sum()
            for k in (0, 1)
        ]
    )
    return standardized_auroc(item.labels, _pooled_scores(item), strata, inside, reference)


def _pooled_scores(item: Predictions) -> NDArray:
    """Return [N] scores of all images on one scale: within each fold in standard deviations."""
    if item.folds is None:
        return item.scores
    repeats = zip(item.probabilities[:, :, 1], item.folds, strict=True)
    return np.sum([standardize_within(scores, folds) for scores, folds in repeats], axis=0)


def _renumber(codes: NDArray, kept: list[int]) -> NDArray:
    renumbered = np.full(len(codes), -1)
    for place, code in enumerate(kept):
        renumbered[codes == code] = place
    return renumbered


def _odds(
    item: Predictions,
    patients: NDArray,
    codes: NDArray,
    num_groups: int,
    threshold: float,
    rarest: int,
    alpha: float,
) -> OddsGap:
    called = (item.scores >= threshold).astype(np.int64)
    rates, variances = np.empty((2, num_groups)), np.empty((2, num_groups))
    for row, function in enumerate((sensitivity, specificity)):
        metric = decision_metric(function, item.labels, called, patients, num_classes=2)
        for group in range(num_groups):
            weights = (codes == group).astype(np.float64)
            rates[row, group] = metric.values(weights[None, :])[0]
            variances[row, group] = rate_variance(metric, weights)
    return equalized_odds(rates, variances, num_patients=rarest, alpha=alpha)


@dataclass(frozen=True)
class GapDifference:
    """The gap of one model against that of another.

    Attributes:
        name: The attribute.
        gap_a: Gap of the first model's AUROC.
        gap_b: Gap of the second's.
        by_group: Comparison of the models in each group that can be judged.
        heterogeneity: Test that the models differ by the same in all groups, which is to say that
            their gaps are equal.
    """

    name: str
    gap_a: float
    gap_b: float
    by_group: Mapping[str, Comparison]
    heterogeneity: Heterogeneity | None


def compare_group_gaps(
    a: Predictions, b: Predictions, scored: GroupingScore, *, margin: float, alpha: float
) -> GapDifference | None:
    """Compare two models in each group; None below two groups that can be judged.

    Args:
        a: Test images under one model.
        b: The same under the other, aligned.
        scored: Groups of `a`, which are those of `b` too.
        margin: Largest difference that does not matter.
        alpha: Level.
    """
    judged = scored.judged
    if len(judged) < 2:
        return None
    image_codes = scored.grouping.codes[code_patients(a.subject_ids)]
    by_group = {}
    for code in judged:
        inside = image_codes == code
        by_group[scored.groups[code].name] = compare_metrics(
            keep_images(a, inside), keep_images(b, inside), margin=margin, alpha=alpha
        )["auroc"]
    differences = np.array([found.difference.value for found in by_group.values()])
    variances = np.array([found.difference.variance for found in by_group.values()])
    values_a = np.array([found.value_a for found in by_group.values()])
    values_b = np.array([found.value_b for found in by_group.values()])
    rarest = min(scored.groups[code].rarest for code in judged)
    few_seeds = any(found.difference.has_too_few_seeds for found in by_group.values())
    return GapDifference(
        scored.grouping.name,
        float(np.ptp(values_a)),
        float(np.ptp(values_b)),
        by_group,
        compare_gaps(differences, variances, rarest)
        if (variances > 0).all() and not few_seeds
        else None,
    )
