"""`evaluate fairness`: groups of patients under one model, or under two."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retfm_dist.cohort.disclosure import SMALLEST_CELL, printable_groups
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.compare import align
from retfm_dist.evaluate.judge.fairness import (
    SHOWN,
    FairnessOptions,
    GapDifference,
    GroupingScore,
    compare_group_gaps,
    judge_groups,
)
from retfm_dist.evaluate.judge.groups import find_groupings, patient_values
from retfm_dist.evaluate.judge.measure import rounded
from retfm_dist.evaluate.judge.output import check_output, write_judgement
from retfm_dist.evaluate.judge.splits import Judged, separate
from retfm_dist.evaluate.judge.tables import Table, number, p_text, span
from retfm_dist.evaluate.judge.titles import metric_title
from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.evaluate.predictions_file import read_predictions
from retfm_dist.statistics.clusters import code_patients
from retfm_dist.statistics.multiplicity import holm

GAP_NOTE = (
    "Expected and 95 %: the gap when group labels are exchanged between patients of the same "
    "outcome, as for a fair model. No evidence of a gap does not mean that there is none."
)


def judge_fairness(
    path: Path,
    out_dir: Path,
    *,
    against: Path | None,
    attributes: Sequence[str],
    intersections: Sequence[Sequence[str]],
    margin: float,
    options: FairnessOptions,
) -> Path:
    """Judge the groups of a prediction file.

    Args:
        path: Prediction file of a model, two classes, with attributes of the patients.
        out_dir: Where to; an earlier judgement there is replaced.
        against: Prediction file of another model on the same images, to compare gaps with.
        attributes: Columns that divide patients; empty takes those that are known.
        intersections: Combinations of columns.
        margin: Largest difference between two models that does not matter.
        options: How.

    Returns:
        Path of report.html.

    Raises:
        EvaluateError: A file is faulty or lacks a column, or `out_dir` holds something else.
    """
    check_output(out_dir)
    whole = read_predictions(path)
    if whole.num_classes != 2:
        raise EvaluateError(
            "fairness needs two classes", where=path, got=f"{whole.num_classes} columns p_k"
        )
    other = None if against is None else separate(align(whole, read_predictions(against)))
    judged = separate(whole)
    groupings = find_groupings(judged.predictions, attributes, intersections)
    strata = _strata(judged.predictions, options.confounders)
    scored = [
        judge_groups(judged.predictions, grouping, judged.thresholds, options, strata)
        for grouping in groupings
    ]
    gaps = _compare(judged, other, scored, margin, options.alpha)
    adjusted = _adjust([None if item.gap is None else item.gap.p for item in scored])
    adjusted_gaps = _adjust(
        [None if gap.heterogeneity is None else gap.heterogeneity.p for gap in gaps]
    )
    numbers: dict[str, Any] = {
        "file": path.name,
        "against": None if against is None else against.name,
        "threshold": rounded(judged.thresholds.get("spec90")),
        "attributes": [_grouping_json(item, p) for item, p in zip(scored, adjusted, strict=True)],
        "gaps_of_two_models": [
            {**gap.as_json(), "p_holm": rounded(p)}
            for gap, p in zip(gaps, adjusted_gaps, strict=True)
        ],
    }
    return write_judgement(
        out_dir,
        "fairness",
        title=f"Fairness of {path.name}" + (f" against {against.name}" if against else ""),
        sentences=_sentences(scored, adjusted, gaps, adjusted_gaps, judged, options.alpha),
        numbers=numbers,
        tables=[
            _gap_table(scored, adjusted),
            *([_difference_table(gaps, adjusted_gaps)] if gaps else []),
            *(_group_table(item) for item in scored),
        ],
    )


def _strata(item: Predictions, confounders: Sequence[str]) -> NDArray | None:
    """Return [N] codes of the combinations of confounders; what is missing is one of its own."""
    if not confounders:
        return None
    columns = [[str(value) for value in patient_values(item, name)] for name in confounders]
    cells = np.array([" / ".join(row) for row in zip(*columns, strict=True)])
    return np.unique(cells, return_inverse=True)[1][code_patients(item.subject_ids)]


def _compare(
    judged: Judged,
    other: Judged | None,
    scored: Sequence[GroupingScore],
    margin: float,
    alpha: float,
) -> list[GapDifference]:
    if other is None:
        return []
    found = (
        compare_group_gaps(judged.predictions, other.predictions, item, margin=margin, alpha=alpha)
        for item in scored
    )
    return [gap for gap in found if gap is not None]


def _adjust(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust one p value per attribute; None stays None."""
    adjusted = iter(holm(np.array([p for p in p_values if p is not None])).tolist())
    return [None if p is None else next(adjusted) for p in p_values]


def _sentences(
    scored: Sequence[GroupingScore],
    adjusted: Sequence[float | None],
    gaps: Sequence[GapDifference],
    adjusted_gaps: Sequence[float | None],
    judged: Judged,
    alpha: float,
) -> list[str]:
    sentences = []
    for item, p in zip(scored, adjusted, strict=True):
        name = item.grouping.name
        if item.gap is None or p is None:
            sentences.append(f"{name}: fewer than two groups are large enough to be judged.")
        elif p <= alpha:
            sentences.append(
                f"{name}: a gap of {number(item.gap.gap)} in AUROC, {number(item.gap.excess)} more "
                f"than a fair model shows (p {p_text(p)}); lowest in {item.worst}."
            )
        else:
            sentences.append(
                f"{name}: no evidence of a gap; {number(item.gap.gap)} in AUROC, of which a fair "
                f"model shows {number(item.gap.expected)} (p {p_text(p)})."
            )
    for gap, p in zip(gaps, adjusted_gaps, strict=True):
        if p is None:
            continue
        claim = "the two models' gaps differ" if p <= alpha else "no evidence that the gaps differ"
        sentences.append(
            f"{gap.name}: {claim}, {number(gap.gap_a)} against {number(gap.gap_b)} (p {p_text(p)})."
        )
    if not judged.thresholds:
        sentences.append("No sensitivity or equalized odds: there are no validation images.")
    return sentences


def _grouping_json(item: GroupingScore, p: float | None) -> dict[str, Any]:
    groups = []
    for group, counts in zip(item.groups, _counts(item), strict=True):
        metrics = {
            name: {
                "value": rounded(group.scored[name].value),
                "lo": rounded(group.scored[name].interval.low),
                "hi": rounded(group.scored[name].interval.high),
            }
            for name in SHOWN
            if name in group.scored
        }
        groups.append(
            {**counts, "metrics": metrics, "auroc_standardized": rounded(group.standardized)}
        )
    return {
        "attribute": item.grouping.name,
        "groups": groups,
        "worst": item.worst,
        "gap": None if item.gap is None else {k: rounded(v) for k, v in vars(item.gap).items()},
        "p_holm": rounded(p),
        "equalized_odds": None
        if item.odds is None
        else {k: rounded(v) for k, v in vars(item.odds).items()},
        "es_auc": rounded(item.es_auc),
    }


def _counts(item: GroupingScore) -> list[dict[str, str]]:
    """Return printable sizes; of joint groups none, which would undo the hiding in single ones."""
    if item.grouping.is_joint:
        return [{"group": group.name} for group in item.groups]
    missing = int((item.grouping.codes < 0).sum())
    rows: list[dict[str, Any]] = [
        {
            "group": group.name,
            "num_images": group.num_images,
            "num_patients": group.num_patients,
            "num_positive_patients": group.num_positive_patients,
        }
        for group in item.groups
    ]
    if missing:  # the last cell of the partition: hiding has to count it
        rows.append(
            {
                "group": "missing",
                "num_images": 0,
                "num_patients": missing,
                "num_positive_patients": 0,
            }
        )
    return printable_groups(item.grouping.name, rows)[: len(item.groups)]


def _group_table(item: GroupingScore) -> Table:
    headings = ["group", *(() if item.grouping.is_joint else ("images", "patients", "positive"))]
    names = [name for name in SHOWN if any(name in group.scored for group in item.groups)]
    has_standard = any(group.standardized is not None for group in item.groups)
    rows = []
    for group, counts in zip(item.groups, _counts(item), strict=True):
        cells = [group.name]
        if not item.grouping.is_joint:
            cells += [
                counts[key] for key in ("num_images", "num_patients", "num_positive_patients")
            ]
        for name in names:
            found = group.scored.get(name)
            cells.append(
                "withheld"
                if found is None
                else f"{number(found.value)} ({span(found.interval.low, found.interval.high)})"
            )
        rows.append([*cells, *([number(group.standardized)] if has_standard else [])])
    return Table(
        f"groups_{item.grouping.name.replace(' ', '_')}",
        f"Groups by {item.grouping.name.replace('_', ' ')}",
        (*headings, *names, *(("AUROC standardized",) if has_standard else ())),
        rows,
        f"Groups with fewer than {SMALLEST_CELL} patients of a class are not judged; small counts, "
        f"and those that would give them away, are hidden.",
        {name: metric_title(name) for name in names},
    )


def _gap_table(scored: Sequence[GroupingScore], adjusted: Sequence[float | None]) -> Table:
    rows = []
    for item, p in zip(scored, adjusted, strict=True):
        gap, odds = item.gap, item.odds
        rows.append(
            [
                item.grouping.name,
                item.worst or "-",
                *(
                    [number(value) for value in (gap.gap, gap.expected, gap.upper, gap.excess)]
                    if gap
                    else ["-"] * 4
                ),
                p_text(p),
                "-" if odds is None else f"{number(odds.value)} ({span(odds.low, odds.high)})",
                number(item.es_auc),
            ]
        )
    headings = ("attribute", "lowest in", "gap of AUROC", "expected", "95 %", "excess", "p (Holm)",
                "equalized odds", "ES-AUC")  # fmt: skip
    return Table("gaps", "Gaps between groups", headings, rows, GAP_NOTE)


def _difference_table(gaps: Sequence[GapDifference], adjusted: Sequence[float | None]) -> Table:
    rows = [
        [
            gap.name,
            group,
            number(found.value_a),
            number(found.value_b),
            number(found.test.value, signed=True),
            span(found.test.interval.low, found.test.interval.high, signed=True),
            number(gap.gap_a),
            number(gap.gap_b),
            p_text(p),
        ]
        for gap, p in zip(gaps, adjusted, strict=True)
        for group, found in gap.by_group.items()
    ]
    headings = ("attribute", "group", "A", "B", "A - B", "interval", "gap of A", "gap of B",
                "p (Holm): equal gaps")  # fmt: skip
    note = (
        "Two models have equal gaps where they differ by the same in every group; the p value is "
        "that of Cochran's test over the groups, paired by patient, adjusted for the number of "
        "attributes."
    )
    return Table("gaps_of_two_models", "The gaps of two models", headings, rows, note)
