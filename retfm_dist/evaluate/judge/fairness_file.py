"""`evaluate fairness`: groups of patients under one model, or under two."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.compare import align
from retfm_dist.evaluate.judge.disclosure import Precision, precision_of
from retfm_dist.evaluate.judge.fairness import (
    FairnessOptions,
    GapDifference,
    GroupingScore,
    compare_group_gaps,
    judge_groups,
)
from retfm_dist.evaluate.judge.fairness_tables import (
    difference_json,
    difference_table,
    gap_table,
    group_table,
    grouping_json,
)
from retfm_dist.evaluate.judge.groups import find_groupings, patient_values
from retfm_dist.evaluate.judge.measure import rounded
from retfm_dist.evaluate.judge.output import Judgement, check_output, write_judgement
from retfm_dist.evaluate.judge.splits import Judged, separate
from retfm_dist.evaluate.judge.tables import p_text
from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.evaluate.predictions_file import read_predictions
from retfm_dist.statistics.clusters import code_patients
from retfm_dist.statistics.multiplicity import adjust, holm

_NO_THRESHOLD = "No sensitivity or equalized odds: there are no validation images."


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
    adjusted = adjust([None if item.gap is None else item.gap.p for item in scored], holm)
    adjusted_gaps = adjust(
        [None if gap.heterogeneity is None else gap.heterogeneity.p for gap in gaps], holm
    )
    precisions = {item.grouping.name: precision_of(item) for item in scored}
    numbers: dict[str, Any] = {
        "file": path.name,
        "against": None if against is None else against.name,
        "threshold": rounded(judged.thresholds.get("spec90")),
        "attributes": [
            grouping_json(item, p, precisions[item.grouping.name])
            for item, p in zip(scored, adjusted, strict=True)
        ],
        "gaps_of_two_models": [
            difference_json(gap, p, precisions[gap.name])
            for gap, p in zip(gaps, adjusted_gaps, strict=True)
        ],
    }
    judgement = Judgement(
        "fairness",
        title=f"Fairness of {path.name}" + (f" against {against.name}" if against else ""),
        sentences=[
            *_group_sentences(scored, adjusted, precisions, options.alpha),
            *_difference_sentences(gaps, adjusted_gaps, precisions, options.alpha),
            *([] if judged.thresholds else [_NO_THRESHOLD]),
        ],
        numbers=numbers,
        tables=[
            gap_table(scored, adjusted, precisions),
            *([difference_table(gaps, adjusted_gaps, precisions)] if gaps else []),
            *(group_table(item, precisions[item.grouping.name]) for item in scored),
        ],
    )
    return write_judgement(out_dir, judgement)


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


def _group_sentences(
    scored: Sequence[GroupingScore],
    adjusted: Sequence[float | None],
    precisions: Mapping[str, Precision],
    alpha: float,
) -> list[str]:
    sentences = []
    for item, p in zip(scored, adjusted, strict=True):
        name = item.grouping.name
        shown = precisions[name].text
        if item.gap is None or p is None:
            sentences.append(f"{name}: fewer than two groups are large enough to be judged.")
        elif p <= alpha:
            sentences.append(
                f"{name}: a gap of {shown(item.gap.gap)} in AUROC, {shown(item.gap.excess)} more "
                f"than a fair model shows (p {p_text(p)}); lowest in {item.worst}."
            )
        else:
            sentences.append(
                f"{name}: no evidence of a gap; {shown(item.gap.gap)} in AUROC, of which a fair "
                f"model shows {shown(item.gap.expected)} (p {p_text(p)})."
            )
    return sentences


def _difference_sentences(
    gaps: Sequence[GapDifference],
    adjusted: Sequence[float | None],
    precisions: Mapping[str, Precision],
    alpha: float,
) -> list[str]:
    sentences = []
    for gap, p in zip(gaps, adjusted, strict=True):
        if p is None:
            continue
        shown = precisions[gap.name].text
        claim = "the two models' gaps differ" if p <= alpha else "no evidence that the gaps differ"
        sentences.append(
            f"{gap.name}: {claim}, {shown(gap.gap_a)} against {shown(gap.gap_b)} (p {p_text(p)})."
        )
    return sentences
