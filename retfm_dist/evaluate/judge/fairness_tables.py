"""Tables and JSON values of `evaluate fairness`; every number passes `disclosure.Precision`."""

from collections.abc import Mapping, Sequence
from typing import Any

from retfm_dist.cohort.disclosure import SMALLEST_CELL
from retfm_dist.evaluate.judge.disclosure import ODDS, Precision, printable_counts
from retfm_dist.evaluate.judge.fairness import RATES, SHOWN, GapDifference, GroupingScore
from retfm_dist.evaluate.judge.measure import rounded
from retfm_dist.evaluate.judge.tables import Table, p_text
from retfm_dist.evaluate.judge.titles import metric_title

GAP_NOTE = (
    "Expected and 95 %: the gap when group labels are exchanged between patients of the same "
    "outcome, as for a fair model. No evidence of a gap does not mean that there is none."
)
_COARSE_NOTE = " Fewer decimals are printed where more would tell hidden counts."
_PRINTED_P = 3
"""Decimals of p values in files."""


def shown_metrics(item: GroupingScore, precision: Precision) -> list[str]:
    """Return the metrics that are printed of an attribute's groups."""
    return [
        name
        for name in SHOWN
        if any(name in group.scored for group in item.groups)
        and (precision.shows_rates or name not in RATES)
    ]


def grouping_json(item: GroupingScore, p: float | None, precision: Precision) -> dict[str, Any]:
    """Return the groups of an attribute as JSON values.

    Args:
        item: The attribute.
        p: Its p value, adjusted.
        precision: Of the attribute.
    """
    names = shown_metrics(item, precision)
    groups = []
    for group, counts in zip(item.groups, printable_counts(item), strict=True):
        metrics = {
            name: {
                "value": precision.json(group.scored[name].value, name),
                "lo": precision.json(group.scored[name].interval.low, name),
                "hi": precision.json(group.scored[name].interval.high, name),
            }
            for name in names
            if name in group.scored
        }
        standardized = precision.json(group.standardized)
        groups.append({**counts, "metrics": metrics, "auroc_standardized": standardized})
    gap, odds = item.gap, item.odds if precision.shows_rates else None
    return {
        "attribute": item.grouping.name,
        "groups": groups,
        "worst": item.worst,
        "gap": None
        if gap is None
        else {k: rounded(v) if k == "p" else precision.json(v) for k, v in vars(gap).items()},
        "p_holm": rounded(p),
        "equalized_odds": None
        if odds is None
        else {name: precision.json(value, ODDS) for name, value in vars(odds).items()},
        "es_auc": precision.json(item.es_auc),
    }


def difference_json(gap: GapDifference, p: float | None, precision: Precision) -> dict[str, Any]:
    """Return the gaps of two models as JSON values, without sizes of groups.

    Args:
        gap: The gaps.
        p: Their p value, adjusted.
        precision: Of the attribute.
    """
    by_group = {}
    for name, found in gap.by_group.items():
        body = found.as_json()
        by_group[name] = {
            **{key: precision.json(body[key]) for key in ("a", "b", "difference", "lo", "hi")},
            "note": body["note"],
            "p": None if body["p"] is None else round(body["p"], _PRINTED_P),
            "verdict": body["verdict"],
        }
    test = gap.heterogeneity
    return {
        "attribute": gap.name,
        "gap_a": precision.json(gap.gap_a),
        "gap_b": precision.json(gap.gap_b),
        "difference_of_gaps": precision.json(gap.gap_a - gap.gap_b),
        "p": None if test is None else rounded(test.p),
        "p_holm": rounded(p),
        "by_group": by_group,
    }


def group_table(item: GroupingScore, precision: Precision) -> Table:
    """Return the table of an attribute's groups."""
    names = shown_metrics(item, precision)
    is_counted = not item.grouping.is_joint
    has_standard = any(group.standardized is not None for group in item.groups)
    rows = []
    for group, counts in zip(item.groups, printable_counts(item), strict=True):
        cells = [group.name]
        if is_counted:
            cells += [
                counts[key] for key in ("num_images", "num_patients", "num_positive_patients")
            ]
        for name in names:
            found = group.scored.get(name)
            cells.append(
                "withheld"
                if found is None
                else f"{precision.text(found.value, name)} "
                f"({precision.interval(found.interval.low, found.interval.high, name)})"
            )
        rows.append([*cells, *([precision.text(group.standardized)] if has_standard else [])])
    headings = ["group", *(("images", "patients", "positive") if is_counted else ())]
    note = (
        f"Groups with fewer than {SMALLEST_CELL} patients of a class are not judged; small counts, "
        f"and those that would give them away, are hidden."
    )
    return Table(
        f"groups_{item.grouping.name.replace(' ', '_')}",
        f"Groups by {item.grouping.name.replace('_', ' ')}",
        (*headings, *names, *(("AUROC standardized",) if has_standard else ())),
        rows,
        note + ("" if precision.digits is None else _COARSE_NOTE),
        {name: metric_title(name) for name in names},
    )


def gap_table(
    scored: Sequence[GroupingScore],
    adjusted: Sequence[float | None],
    precisions: Mapping[str, Precision],
) -> Table:
    """Return the table of gaps between groups, one row an attribute.

    Args:
        scored: The attributes.
        adjusted: Their p values, adjusted.
        precisions: Of the attributes, by name.
    """
    rows = []
    for item, p in zip(scored, adjusted, strict=True):
        precision = precisions[item.grouping.name]
        gap, odds = item.gap, item.odds if precision.shows_rates else None
        rows.append(
            [
                item.grouping.name,
                item.worst or "-",
                *(
                    [
                        precision.text(value)
                        for value in (gap.gap, gap.expected, gap.upper, gap.excess)
                    ]
                    if gap
                    else ["-"] * 4
                ),
                p_text(p),
                "-"
                if odds is None
                else f"{precision.text(odds.value, ODDS)} "
                f"({precision.interval(odds.low, odds.high, ODDS)})",
                precision.text(item.es_auc),
            ]
        )
    headings = ("attribute", "lowest in", "gap of AUROC", "expected", "95 %", "excess", "p (Holm)",
                "equalized odds", "ES-AUC")  # fmt: skip
    return Table("gaps", "Gaps between groups", headings, rows, GAP_NOTE)


def difference_table(
    gaps: Sequence[GapDifference],
    adjusted: Sequence[float | None],
    precisions: Mapping[str, Precision],
) -> Table:
    """Return the table of two models in every group that can be judged.

    Args:
        gaps: One per attribute.
        adjusted: Their p values, adjusted.
        precisions: Of the attributes, by name.
    """
    rows = [
        [
            gap.name,
            group,
            precision.text(found.value_a),
            precision.text(found.value_b),
            precision.text(found.test.value, signed=True),
            precision.interval(found.test.interval.low, found.test.interval.high, signed=True),
            precision.text(gap.gap_a),
            precision.text(gap.gap_b),
            p_text(p),
        ]
        for gap, p in zip(gaps, adjusted, strict=True)
        for precision in [precisions[gap.name]]
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
