"""How often tests claim what is not so, and find what is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.simulations.cohorts import (
    Cohort,
    draw_cohort,
    draw_folds,
    draw_labels,
    draw_scores,
    effect_of,
    fit_ridge,
)
from retfm_dist.statistics.auroc import auroc, auroc_metric
from retfm_dist.statistics.averages import average_paired
from retfm_dist.statistics.equivalence import PairedEstimate, pair_estimates
from retfm_dist.statistics.estimate import FIXED, Design
from retfm_dist.statistics.gaps import compare_gaps, gap_test, outcomes_of
from retfm_dist.statistics.paired import PairedTest, judge_difference, permutation_p, permute_ranks
from retfm_dist.statistics.suite import measure_auroc

_PERMUTATIONS = 199


@dataclass(frozen=True)
class Decision:
    """One situation and what is claimed in it.

    Attributes:
        name: In tables.
        is_true: Whether the claim is true; then its rate is the power, else the false claims.
        simulate: One repetition: whether it was claimed; None where the code gives no verdict.
    """

    name: str
    is_true: bool
    simulate: Callable[[np.random.Generator], bool | None]


def decisions() -> Iterator[Decision]:
    """Yield every situation."""
    for patients in (60, 200, 800):
        yield Decision(f"compare, fixed scores, {patients} patients, no difference", False,
                       lambda rng, n=patients: _claims(_paired(rng, n, 0.85, 0.85)))  # fmt: skip
        yield Decision(f"permutation of patients, {patients} patients, no difference", False,
                       lambda rng, n=patients: _permuted(rng, n, 0.85, 0.85))  # fmt: skip
    for patients, effect in ((60, 0.8), (60, 2.0), (200, 0.8), (200, 2.0)):
        yield Decision(
            f"compare, cross-validation, {patients} patients, effect {effect} in both", False,
            lambda rng, n=patients, e=effect: _claims(_cross_validated(rng, n, e, e)))  # fmt: skip
    for patients in (200, 800, 3000):
        yield Decision(f"equivalence within 0.02, {patients} patients, difference 0.02",
                       False,
                       lambda rng, n=patients: _equivalent(_paired(rng, n, 0.85, 0.83))
                       )  # fmt: skip
    for sizes in (((41, 63), (7, 35), (3, 16)), ((100, 400),) * 3, ((40, 81), (14, 32))):
        text = ", ".join(f"{p}/{n}" for p, n in sizes)
        yield Decision(f"gap between fair groups of {text}", False,
                       lambda rng, s=sizes: _gap(rng, s, (0.85,) * len(s)))  # fmt: skip
    for sizes in (((60, 90), (60, 90)), ((100, 400),) * 3, ((40, 81), (14, 32))):
        text = ", ".join(f"{p}/{n}" for p, n in sizes)
        yield Decision(f"difference of equal gaps, groups of {text}", False,
                       lambda rng, s=sizes: _gap_difference(rng, s, 0.0))  # fmt: skip
    yield Decision("compare, 400 patients, 0.90 against 0.85", True,
                   lambda rng: _claims(_paired(rng, 400, 0.90, 0.85)))  # fmt: skip
    yield Decision("compare, cross-validation, 200 patients, effect 2.5 against 1.5", True,
                   lambda rng: _claims(_cross_validated(rng, 200, 2.5, 1.5)))  # fmt: skip
    yield Decision("equivalence within 0.02, 4000 patients, no difference", True,
                   lambda rng: _equivalent(_paired(rng, 4000, 0.85, 0.85)))  # fmt: skip
    yield Decision("gap of 0.12, groups of 150/300, 150/300", True,
                   lambda rng: _gap(rng, ((150, 300),) * 2, (0.90, 0.78)))  # fmt: skip
    yield Decision("difference of gaps of 0.12, groups of 200/400, 200/400", True,
                   lambda rng: _gap_difference(rng, ((200, 400),) * 2, 0.12))  # fmt: skip
    yield from _seed_decisions()
    yield from _place_decisions()
    yield from _end_decisions()


def _place_decisions() -> Iterator[Decision]:
    for patients in (60, 200):
        yield Decision(f"mean over 6 places, 2 test sets of {patients} patients, no difference",
                       False,
                       lambda rng, n=patients: _claims(_places(rng, n, 3, 0.85, 0.85))
                       )  # fmt: skip
    yield Decision("mean over 6 places, 2 test sets of 300 patients, 0.90 against 0.85", True,
                   lambda rng: _claims(_places(rng, 300, 3, 0.90, 0.85)))  # fmt: skip


def _end_decisions() -> Iterator[Decision]:
    """AUROCs near the end of the range."""
    for first, second in ((0.999, 0.979), (0.98, 0.96)):
        for patients in (60, 200, 800):
            yield Decision(
                f"equivalence within 0.02, {patients} patients, {first} against {second}", False,
                lambda rng, n=patients, a=first, b=second: _equivalent(_paired(rng, n, a, b)),
            )  # fmt: skip
    yield Decision("equivalence within 0.02, 400 patients, 0.99 in both", True,
                   lambda rng: _equivalent(_paired(rng, 400, 0.99, 0.99)))  # fmt: skip


def _seed_decisions() -> Iterator[Decision]:
    for seeds, spread, patients in ((3, 0.15, 200), (3, 0.4, 800), (5, 0.15, 200), (5, 0.4, 800)):
        yield Decision(
            f"compare, {seeds} seeds of spread {spread}, {patients} patients, no difference",
            False,
            lambda rng, s=(patients, seeds, spread): _claims(_seeds(rng, *s, 0.85, 0.85)),
        )
    for seeds, spread in ((3, 0.02), (3, 0.15), (5, 0.02), (5, 0.15)):
        yield Decision(
            f"equivalence within 0.02, {seeds} seeds of spread {spread}, 3000 patients, "
            "difference 0.02",
            False,
            lambda rng, s=(3000, seeds, spread): _equivalent(_seeds(rng, *s, 0.85, 0.83)),
        )
    yield Decision(
        "compare, 10 seeds of spread 0.15, 800 patients, 0.90 against 0.85",
        True,
        lambda rng: _claims(_seeds(rng, 800, 10, 0.15, 0.90, 0.85)),
    )


def _two_scores(rng, labels, patients, first: float, second: float) -> list:
    """Scores of two models with these AUROCs, which share half of their noise."""
    shared = draw_scores(rng, labels, patients, 0.0)
    return [
        effect_of(area) * labels + np.sqrt(0.5) * (shared + draw_scores(rng, labels, patients, 0.0))
        for area in (first, second)
    ]


def _paired(rng, num_patients: int, first: float, second: float) -> PairedTest:
    labels, patients = draw_labels(rng, num_patients, 0.35)
    a, b = (
        measure_auroc(labels, s, patients)
        for s in _two_scores(rng, labels, patients, first, second)
    )
    return judge_difference(
        _pair([a], [b], FIXED), margin=0.02, num_patients=a.num_patients, alpha=0.05
    )


def _places(rng, num_patients: int, num_tasks: int, first: float, second: float) -> PairedTest:
    """Two models on two test sets, whose patients and half of whose noise several tasks share."""
    differences, names, rarest = [], [], []
    for test_set in range(2):
        labels, patients = draw_labels(rng, num_patients, 0.35)
        common = [draw_scores(rng, labels, patients, 0.0) for _ in range(2)]
        for _ in range(num_tasks):
            a, b = (
                measure_auroc(
                    labels,
                    effect_of(area) * labels
                    + np.sqrt(0.5) * (noise + draw_scores(rng, labels, patients, 0.0)),
                    patients,
                )
                for area, noise in zip((first, second), common, strict=True)
            )
            differences.append(_pair([a], [b], FIXED))
            names.append(num_patients * test_set + np.arange(num_patients))
            rarest.append(a.num_patients)
    mean = average_paired(differences, names)
    return judge_difference(mean, margin=0.02, num_patients=min(rarest), alpha=0.05)


def _seeds(
    rng, num_patients: int, num_seeds: int, spread: float, first: float, second: float
) -> PairedTest:
    """Two models of several trainings, whose skill has these AUROCs on average over seeds."""
    labels, patients = draw_labels(rng, num_patients, 0.35)
    # The mean of Phi((e + spread z) / sqrt 2) over a normal z is Phi(e / sqrt(2 + spread^2)).
    widened = np.sqrt(1 + spread**2 / 2)
    common = draw_scores(rng, labels, patients, 0.0)
    measured = []
    for area in (first, second):
        for _ in range(num_seeds):
            own = np.sqrt(0.9) * common + np.sqrt(0.1) * rng.normal(size=len(labels))
            skill = widened * effect_of(area) + spread * rng.normal()
            measured.append(measure_auroc(labels, own + skill * labels, patients))
    paired = _pair(measured[:num_seeds], measured[num_seeds:], Design("seeds"))
    rarest = measured[0].num_patients
    return judge_difference(paired, margin=0.02, num_patients=rarest, alpha=0.05)


def _pair(first: list, second: list, design: Design) -> PairedEstimate:
    """Two models from the measurements of their replicates."""
    values, influences = (
        [np.array([getattr(item, name) for item in items]) for items in (first, second)]
        for name in ("value", "influence")
    )
    return pair_estimates(values, influences, design, scale="unit")


def _claims(test: PairedTest) -> bool | None:
    return None if test.p is None else test.p <= 0.05


def _equivalent(test: PairedTest) -> bool | None:
    return None if test.p_equivalence is None else test.p_equivalence <= 0.05


def _permuted(rng, num_patients: int, first: float, second: float) -> bool:
    labels, patients = draw_labels(rng, num_patients, 0.35)
    a, b = _two_scores(rng, labels, patients, first, second)
    permuted = permute_ranks(
        labels, a, b, patients, num_permutations=_PERMUTATIONS, seed=int(rng.integers(2**31))
    )
    return permutation_p(auroc(labels, a) - auroc(labels, b), permuted) <= 0.05


def _cross_validated(rng, num_patients: int, first: float, second: float) -> PairedTest:
    """Two models' features of the same patients, each fitted on the same folds."""
    cohort = draw_cohort(rng, num_patients, 0.35, first)
    other = rng.normal(size=cohort.features.shape)
    other = np.sqrt(0.5) * (other + cohort.features - first * _shift(cohort))
    features = [cohort.features, other + second * _shift(cohort)]
    first_model, second_model = [], []
    for _ in range(10):
        folds = draw_folds(rng, cohort, 5)
        pair = []
        for matrix in features:
            scores = np.empty(len(folds))
            for fold in range(5):
                test = folds == fold
                scores[test] = matrix[test] @ fit_ridge(matrix[~test], cohort.labels[~test])
            pair.append(measure_auroc(cohort.labels, scores, cohort.patients, folds=folds))
        first_model.append(pair[0])
        second_model.append(pair[1])
    paired = _pair(first_model, second_model, Design("cross_validation", 5))
    return judge_difference(paired, margin=0.02, num_patients=pair[0].num_patients, alpha=0.05)


def _shift(cohort: Cohort) -> np.ndarray:
    shift = np.zeros_like(cohort.features)
    shift[:, 0] = cohort.labels
    return shift


def _groups(rng, sizes) -> tuple:
    labels = np.concatenate([np.r_[np.ones(p, int), np.zeros(n, int)] for p, n in sizes])
    groups = np.repeat(np.arange(len(sizes)), [p + n for p, n in sizes])
    return labels, groups, np.arange(len(labels))


def _gap(rng, sizes, areas) -> bool:
    labels, groups, patients = _groups(rng, sizes)
    effects = np.array([effect_of(area) for area in areas])[groups]
    scores = rng.normal(effects * labels)
    found = gap_test(
        auroc_metric(labels, scores, patients), groups, outcomes_of(labels, patients),
        num_groups=len(sizes), num_permutations=_PERMUTATIONS, seed=int(rng.integers(2**31)),
    )  # fmt: skip
    return found.p <= 0.05


def _gap_difference(rng, sizes, gap: float) -> bool:
    """Model a is better than b by 0.05 in every group, and by `gap` more in the first."""
    labels, groups, _ = _groups(rng, sizes)
    differences, variances = [], []
    for group in range(len(sizes)):
        own = labels[groups == group]
        patients = np.arange(len(own))
        first = 0.82 + gap * (group == 0)
        a, b = (
            measure_auroc(own, s, patients) for s in _two_scores(rng, own, patients, first, 0.77)
        )
        differences.append(a.value - b.value)
        variances.append(((a.influence - b.influence) ** 2).sum())
    rarest = min(min(pair) for pair in sizes)
    return compare_gaps(np.array(differences), np.array(variances), rarest).p <= 0.05
