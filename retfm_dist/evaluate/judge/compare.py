"""Comparison of two models on the same images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.measure import direction_of, measure_replicates, rounded
from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.statistics.auroc import auroc, auroc_metric
from retfm_dist.statistics.averages import average_paired
from retfm_dist.statistics.bootstrap import patient_resamples, seed_for
from retfm_dist.statistics.clusters import code_patients
from retfm_dist.statistics.delong import delong_test
from retfm_dist.statistics.equivalence import PairedEstimate, pair_estimates
from retfm_dist.statistics.estimate import Design, Estimate
from retfm_dist.statistics.paired import (
    PairedTest,
    Verdict,
    judge_difference,
    permutation_p,
    permute_ranks,
)
from retfm_dist.statistics.seeds import two_level_bootstrap, welch_test
from retfm_dist.statistics.suite import scale_of

WELCH_DEFECT = (
    "takes the test patients as given: with seeds that agree, any difference becomes significant"
)


@dataclass(frozen=True)
class Comparison:
    """A metric of two models on the same images.

    Attributes:
        metric: Its name.
        value_a: Of the first model.
        value_b: Of the second.
        paired: The two, in the order in which a larger difference is better for the first model.
        test: What the difference supports.
        num_images: Images compared.
        num_patients: Their patients.
        num_rarest: Patients of the rarest class.
    """

    metric: str
    value_a: float
    value_b: float
    paired: PairedEstimate
    test: PairedTest
    num_images: int
    num_patients: int
    num_rarest: int

    @property
    def difference(self) -> Estimate:
        """First minus second, its sign turned where lower values are better."""
        return self.paired.difference

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {
            "metric": self.metric,
            "a": rounded(self.value_a),
            "b": rounded(self.value_b),
            **paired_json(self.test),
            "n_images": self.num_images,
            "n_patients": self.num_patients,
        }


def paired_json(test: PairedTest) -> dict[str, Any]:
    """Return a difference and what it supports as JSON values."""
    return {
        "difference": rounded(test.value),
        "lo": rounded(test.interval.low),
        "hi": rounded(test.interval.high),
        "note": test.interval.note,
        "p": rounded(test.p),
        "p_equivalence": rounded(test.p_equivalence),
        "verdict": test.verdict,
    }


def align(a: Predictions, b: Predictions) -> Predictions:
    """Return `b` with its images in the order of `a`.

    Raises:
        EvaluateError: The two are not about the same images, patients, labels, splits or kind of
            replicates, or they are the same predictions.
    """
    where = f"{a.model} and {b.model}"
    order = {uid: index for index, uid in enumerate(b.uids.tolist())}
    only_a = [uid for uid in a.uids.tolist() if uid not in order]
    if only_a or len(a.uids) != len(b.uids):
        only_b = sorted(set(b.uids.tolist()) - set(a.uids.tolist()))
        raise EvaluateError(
            "the two files are not about the same images",
            where=where,
            got=f"{len(only_a)} images only in the first, {len(only_b)} only in the second, "
            f"such as {(only_a + only_b)[0]}",
            hint="compare predictions of one test set",
        )
    rows = np.array([order[uid] for uid in a.uids.tolist()])
    for name, left, right in (
        ("y", a.labels, b.labels[rows]),
        ("patient", a.subject_ids, b.subject_ids[rows]),
        ("split", a.splits, None if b.splits is None else b.splits[rows]),
    ):
        if (left is None) != (right is None) or (left is not None and (left != right).any()):
            raise EvaluateError(f"the two files differ in the column {name}", where=where)
    if _shape(a) != _shape(b):
        raise EvaluateError(
            "the two files were made in different ways",
            where=where,
            got=f"{_shape(a)}; {_shape(b)}",
            expected="equal numbers of classes, repeats, folds and seeds",
        )
    if np.array_equal(a.probabilities, b.probabilities[:, rows]):
        # A file copied or named twice: "equivalent" would be said of a model and itself.
        raise EvaluateError(
            "the two files hold the same predictions",
            where=where,
            hint="name the prediction files of two models",
        )
    return replace(
        b,
        uids=a.uids,
        labels=a.labels,
        subject_ids=a.subject_ids,
        probabilities=b.probabilities[:, rows],
        folds=None if b.folds is None else b.folds[:, rows],
        splits=a.splits,
        attributes=a.attributes,
    )


def claim_of(verdict: Verdict, a: str, b: str, *, margin: float) -> str:
    """Return in words what a verdict lets be said of two models, and no more."""
    return {
        "superior": f"{a} is better than {b}",
        "inferior": f"{a} is worse than {b}",
        "equivalent": f"{a} and {b} are equivalent within {margin:g}",
        "inconclusive": f"no difference between {a} and {b} is shown, nor is there none",
        "insufficient": f"{a} and {b} cannot be compared: too few patients or seeds",
    }[verdict]


def _shape(item: Predictions) -> str:
    design = item.design
    folds = f" of {design.num_folds} folds" if design.num_folds else ""
    return f"{item.num_classes} classes, {item.num_replicates} x {design.kind}{folds}"


def _joint_design(a: Predictions, b: Predictions) -> Design:
    """Return what the replicates of a difference are; the larger reciprocity errs on the wide."""
    return max(a.design, b.design, key=lambda design: design.reciprocity)


def compare_metrics(
    a: Predictions,
    b: Predictions,
    *,
    margin: float,
    alpha: float,
    thresholds: tuple[Mapping[str, float], Mapping[str, float]] = ({}, {}),
) -> dict[str, Comparison]:
    """Compare every metric that has a direction; `b` is aligned with `a`.

    Args:
        a: Test images under one model.
        b: The same under the other.
        margin: Largest difference that does not matter.
        alpha: Level of each test.
        thresholds: Operating points of either model, by the same names.
    """
    measured = [measure_replicates(item, t) for item, t in zip((a, b), thresholds, strict=True)]
    design = _joint_design(a, b)
    compared = {}
    for name, first in measured[0][0].items():
        if direction_of(name) == "none" or first.influence is None or name not in measured[1][0]:
            continue
        values, influences = (
            [
                np.array([getattr(item[name], field) for item in replicates])
                for replicates in measured
            ]
            for field in ("value", "influence")
        )
        both = pair_estimates(values, influences, design, scale=scale_of(name))
        paired = both.turned(-1 if direction_of(name) == "lower" else 1)
        compared[name] = Comparison(
            metric=name,
            value_a=both.first.value,
            value_b=both.second.value,
            paired=paired,
            test=judge_difference(
                paired, margin=margin, num_patients=first.num_patients, alpha=alpha
            ),
            num_images=len(a.labels),
            num_patients=len(np.unique(a.subject_ids)),
            num_rarest=first.num_patients,
        )
    return compared


def judge_mean(
    parts: Sequence[tuple[Comparison, int, NDArray]], *, margin: float, alpha: float
) -> PairedTest:
    """Test the mean of differences of one metric on test sets that may share patients.

    Args:
        parts: Each with its sign, 1 or -1, and the names of its patients in the order of its
            influences.
        margin: Largest difference that does not matter.
        alpha: Level.
    """
    mean = average_paired(
        [comparison.paired.turned(sign) for comparison, sign, _ in parts],
        [names for *_, names in parts],
    )
    fewest = min(comparison.num_rarest for comparison, *_ in parts)
    return judge_difference(mean, margin=margin, num_patients=fewest, alpha=alpha)


def cross_check(
    a: Predictions,
    b: Predictions,
    *,
    alpha: float,
    num_resamples: int,
    num_permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Test the AUROC of two classes in other ways, where they apply.

    Args:
        a: Test images under one model.
        b: The same under the other, aligned.
        alpha: 1 - coverage of the bootstrap's interval.
        num_resamples: Of the two-level bootstrap.
        num_permutations: Of the exchange of models within patients.
        seed: Of all of them.

    Returns:
        JSON values by name of the method.
    """
    if a.num_classes != 2 or a.folds is not None:
        return {}  # with refits, no test of fixed scores holds its level
    patients = code_patients(a.subject_ids)
    scores = [item.probabilities[:, :, 1] for item in (a, b)]
    if not a.has_seeds:
        left, right = scores[0][0], scores[1][0]
        delong = delong_test(a.labels, left, right, patients)
        plain = delong_test(a.labels, left, right, np.arange(len(patients)))
        permuted = permute_ranks(
            a.labels,
            left,
            right,
            patients,
            num_permutations=num_permutations,
            seed=seed_for(seed, "permutation"),
        )
        return {
            "permutation_of_patients": {
                "p": rounded(permutation_p(delong.value, permuted)),
                "num_permutations": num_permutations,
            },
            "delong_clustered": {"p": rounded(delong.p)},
            "delong_independent_images": {
                "p": rounded(plain.p),
                "note": "takes the images of a patient as independent",
            },
        }
    return _seed_checks(
        a.labels, patients, scores, alpha=alpha, num_resamples=num_resamples, seed=seed
    )


def _seed_checks(
    labels: NDArray,
    patients: NDArray,
    scores: list[NDArray],
    *,
    alpha: float,
    num_resamples: int,
    seed: int,
) -> dict[str, Any]:
    draws = patient_resamples(
        labels, patients, num_resamples=num_resamples, seed=seed_for(seed, "patients")
    )
    metrics_a, metrics_b = (
        [auroc_metric(labels, row, patients) for row in model] for model in scores
    )
    differences = two_level_bootstrap(
        list(metrics_a), list(metrics_b), draws.astype(float), seed=seed_for(seed, "seeds")
    )
    low, high = np.nanquantile(differences, [alpha / 2, 1 - alpha / 2])
    checks: dict[str, Any] = {
        "two_level_bootstrap": {
            "lo": rounded(float(low)),
            "hi": rounded(float(high)),
            "num_resamples": num_resamples,
        }
    }
    values = [np.array([auroc(labels, row) for row in model]) for model in scores]
    welch = welch_test(values[0], values[1])
    if welch is not None:
        checks["welch_of_seeds"] = {"p": rounded(welch.p), "note": WELCH_DEFECT}
    return checks
