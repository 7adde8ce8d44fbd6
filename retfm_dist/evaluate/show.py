"""What the evaluation commands print for people."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def show_results(report_path: Path, *, as_json: bool) -> None:
    """Print the results, and the path of the report last.

    Args:
        report_path: report.html of an evaluation.
        as_json: Whether metrics.json is printed instead of tables.
    """
    metrics = json.loads((report_path.parent / "metrics.json").read_text(encoding="utf-8"))
    if as_json:
        print(json.dumps({"report": str(report_path), **metrics}, indent=2, sort_keys=True))
        return
    table = _table("task", "model", "protocol", "metric", "value", "images", "patients")
    for result in metrics["results"]:
        found = result["metrics"][result["primary"]]
        span = "" if found["lo"] is None else f" [{found['lo']:.3f}, {found['hi']:.3f}]"
        table.add_row(
            *(result[key] for key in ("task", "model", "protocol", "primary")),
            escape(f"{found['value']:.3f}{span}"),
            str(found["n_images"]),
            str(found["n_patients"]),
        )
    Console().print(table)
    differences = _table("task", "protocol", "models", "metric", "difference", "verdict")
    for pair in metrics["comparisons"]:
        found = pair["comparison"]
        span = "" if found["lo"] is None else f" [{found['lo']:+.3f}, {found['hi']:+.3f}]"
        differences.add_row(
            pair["task"],
            pair["protocol"],
            f"{pair['a']} - {pair['b']}",
            found["metric"],
            escape(f"{found['difference']:+.3f}{span}"),
            pair["verdict"],
        )
    if differences.row_count:
        Console().print(differences)
    print(report_path)


def show_counts(facts: Mapping[str, Any]) -> None:
    """Print what `validate` found: counts, copies, folds, groups and models."""
    console, tasks = Console(), facts["tasks"]
    console.print(_classes(tasks))
    console.print(_checks(tasks))
    expected = _table("task", "AUROC", "expected width of the interval", "smallest provable margin")
    for task in tasks:
        expected.add_row(task["id"], *(f"{value:.3f}" for value in task["expected"].values()))
    console.print(expected)
    groups = _table("task", "attribute", "group", "images", "patients", "not of class 0")
    for task in tasks:
        for row in task["subgroups"]:
            keys = ("attribute", "group", "num_images", "num_patients", "num_positive_patients")
            groups.add_row(task["id"], *(str(row[key]) for key in keys))
    if groups.row_count:
        console.print(groups)
    models = _table("model", "kind", "weights sha256")
    for model in facts["models"]:
        models.add_row(model["id"], model["kind"], model.get("weights_sha256", "-")[:16])
    console.print(models)


def _classes(tasks: list[dict[str, Any]]) -> Table:
    table = _table("task", "set", "class", "images", "patients")
    for task in tasks:
        parts = [("all", task["classes"])]
        parts += [(part["name"], part["classes"]) for part in task["sets"]]
        for part, classes in parts:
            for row in classes:
                counts = (str(row["num_images"]), str(row["num_patients"]))
                table.add_row(task["id"], part, row["name"], *counts)
    return table


def _checks(tasks: list[dict[str, Any]]) -> Table:
    table = _table("task", "check", "found")
    for task in tasks:
        for name, found in _findings(task):
            table.add_row(task["id"], name, found)
    return table


def _findings(task: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "rows of the table", str(task["num_rows"])
    for step in task["excluded"]:
        if step["num_images"]:
            yield f"left out: {step['reason']}", str(step["num_images"])
    if not task["patients_are_known"]:
        yield "patients", "unknown: every image counts as one"
    alike = task["alike"]
    yield "look like another image of the patient", str(alike["within_patients"])
    yield "look like an image of another patient", str(alike["across_patients"])
    if task["sets"]:
        yield "patients in two sets", "0"  # an error otherwise
        yield "validation and test images that look like a train image", str(alike["across_sets"])
    else:
        folds = task["possible_folds"]
        yield "largest number of folds", str(folds["folds"])
        yield "largest number of inner folds", str(folds["inner_folds"])


def _table(*headings: str) -> Table:
    """Return a table whose cells are never cut."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
