"""The tables of the report as CSV and LaTeX, for papers and spreadsheets."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retfm_dist.cohort.disclosure import printable_groups
from retfm_dist.evaluate.judge.measure import Scored
from retfm_dist.evaluate.judge.tables import Table, number, p_text, span
from retfm_dist.evaluate.judge.titles import metric_title
from retfm_dist.evaluate.report.compute import PairResult, Result


def make_tables(
    samples: Sequence[Mapping[str, Any]],
    results: Sequence[Result],
    pairs: Sequence[PairResult],
    titles: Mapping[str, str],
) -> list[Table]:
    """Return every table of the report.

    Args:
        samples: Content of samples.json.
        results: Every model on every task under every protocol.
        pairs: Comparisons.
        titles: Of the protocols, by id.
    """
    return [
        _metrics(results, titles),
        _differences(pairs, titles),
        _operating_points(results, titles),
        _flow(samples),
        _classes(samples),
        _subgroups(samples),
    ]


def _metrics(results: Sequence[Result], titles: Mapping[str, str]) -> Table:
    rows = []
    for result in results:
        model, task, protocol = result.key
        for level, scored in (("image", result.scored), ("patient", result.by_patient)):
            for name, item in scored.items():
                rows.append(
                    [
                        *(task, model, titles[protocol], level, name),
                        *_value_cells(item),
                        *(str(item.num_images), str(item.num_patients), item.interval.note),
                    ]
                )
    headings = ("task", "model", "protocol", "level", "metric", "value", "lower", "upper",
                "rows", "patients", "note")  # fmt: skip
    return Table("metrics", "Every metric", headings, rows)


def _value_cells(item: Scored) -> tuple[str, str, str]:
    low, high = item.interval.low, item.interval.high
    return number(item.value, digits=4), number(low, digits=4), number(high, digits=4)


def _differences(pairs: Sequence[PairResult], titles: Mapping[str, str]) -> Table:
    rows = []
    for pair in pairs:
        test = pair.comparison.test
        rows.append(
            [
                *(pair.task, titles[pair.protocol], pair.model_a, pair.model_b),
                metric_title(pair.comparison.metric),
                number(test.value, digits=4, signed=True),
                number(test.interval.low, digits=4, signed=True),
                number(test.interval.high, digits=4, signed=True),
                *(p_text(pair.p_holm), pair.verdict),
            ]
        )
    headings = ("task", "protocol", "model A", "model B", "metric", "A - B", "lower", "upper",
                "p (Holm)", "verdict")  # fmt: skip
    return Table("differences", "Differences between models", headings, rows)


def operating_points(result: Result, titles: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield sensitivity and specificity at each threshold from the validation images, as text."""
    for name, threshold in result.thresholds.items():
        sensitivity, specificity = (
            result.scored[f"{metric}_at_{name}"] for metric in ("sensitivity", "specificity")
        )
        yield {
            "model": result.predictions.model,
            "protocol": titles[result.predictions.protocol],
            "demand": f"{'specificity' if name.startswith('spec') else 'sensitivity'} "
            f"{name[-2:]} % on validation",
            "threshold": number(threshold, digits=4),
            "sensitivity": number(sensitivity.value),
            "sensitivity_interval": span(sensitivity.interval.low, sensitivity.interval.high),
            "specificity": number(specificity.value),
            "specificity_interval": span(specificity.interval.low, specificity.interval.high),
        }


def _operating_points(results: Sequence[Result], titles: Mapping[str, str]) -> Table:
    rows = [
        [result.predictions.task, *point.values()]
        for result in results
        for point in operating_points(result, titles)
    ]
    headings = ("task", "model", "protocol", "demand", "threshold", "sensitivity", "interval",
                "specificity", "interval")  # fmt: skip
    return Table("operating_points", "Operating points on the test images", headings, rows)


def _flow(samples: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for task in samples:
        rows.append([task["id"], "rows of the table", str(task["num_rows"])])
        for step in task["excluded"]:
            rows.append([task["id"], f"left out: {step['reason']}", str(step["num_images"])])
        rows.append([task["id"], "images analyzed", str(task["num_images"])])
    return Table("flow", "From table to analysis", ("task", "step", "images"), rows)


def _classes(samples: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [task["id"], part, row["name"], str(row["num_images"]), str(row["num_patients"])]
        for task in samples
        for part, classes in [
            ("all", task["classes"]),
            *((part["name"], part["classes"]) for part in task["sets"]),
        ]
        for row in classes
    ]
    headings = ("task", "set", "class", "images", "patients")
    return Table("classes", "Images and patients of each class", headings, rows)


def _subgroups(samples: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [task["id"], *row.values()]
        for task in samples
        for row in printable_subgroups(task["subgroups"])
    ]
    headings = ("task", "attribute", "group", "images", "patients", "patients not of class 0")
    return Table("subgroups", "Groups of patients", headings, rows)


def printable_subgroups(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Return subgroup sizes as text, with what would single somebody out hidden."""
    return [
        printable
        for attribute in dict.fromkeys(row["attribute"] for row in rows)
        for printable in printable_groups(
            attribute, [row for row in rows if row["attribute"] == attribute]
        )
    ]
