"""`evaluate score`: every metric of one prediction file, at image, eye and patient level."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from retfm_dist.durable import json_text
from retfm_dist.evaluate.judge.levels import RULES, Level, aggregate
from retfm_dist.evaluate.judge.measure import Scored, rounded, score, scored_json
from retfm_dist.evaluate.judge.output import Judgement, check_output, write_judgement
from retfm_dist.evaluate.judge.splits import separate
from retfm_dist.evaluate.judge.tables import Table, number, span
from retfm_dist.evaluate.judge.titles import metric_title
from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.evaluate.predictions_file import read_predictions

_COLUMNS = ("level", "metric", "value", "lo", "hi", "n_rows", "n_patients", "method", "note")
"""Of metrics.csv; n_rows are images, eyes or patients."""
NO_THRESHOLD = (
    "No sensitivity at a fixed specificity: that needs a threshold from validation images, rows "
    "with split = val beside split = test."
)


def score_file(path: Path, out_dir: Path, *, alpha: float) -> Path:
    """Score a prediction file.

    Args:
        path: Prediction file; see `predictions_file`.
        out_dir: Where to; an earlier judgement there is replaced.
        alpha: 1 - coverage of the intervals.

    Returns:
        Path of report.html.

    Raises:
        EvaluateError: The file is faulty, or `out_dir` holds something else.
    """
    check_output(out_dir)
    judged = separate(read_predictions(path))
    levels: dict[str, Any] = {}
    scores: dict[str, Mapping[str, Scored]] = {}
    tables = []
    for level in get_args(Level):
        item = aggregate(judged.predictions, level)
        if item is None:
            levels[level] = {"note": "the file does not say which eye an image shows"}
        elif item.num_classes > 1 and len(np.unique(item.labels)) < 2:
            levels[level] = {"note": "all are of one class"}
        else:
            thresholds = judged.thresholds if level == "image" else {}
            scored = scores[level] = score(item, alpha=alpha, thresholds=thresholds)
            levels[level] = {"rule": RULES[level], "metrics": scored_json(scored, item)}
            tables.append(_table(level, scored, item))
    numbers = {
        "file": path.name,
        "alpha": alpha,
        "design": judged.predictions.design.describe(judged.predictions.num_replicates),
        "thresholds": dict(judged.thresholds),
        "levels": levels,
    }
    judgement = Judgement(
        "score",
        title=f"Score of {path.name}",
        sentences=_sentences(judged.predictions, levels["image"]["metrics"], alpha)
        + ([] if judged.thresholds or judged.predictions.num_classes != 2 else [NO_THRESHOLD]),
        numbers=numbers,
        tables=tables,
        files={
            "metrics.json": json_text(levels["image"]["metrics"]),
            "metrics.csv": _long_csv(scores),
        },
    )
    return write_judgement(out_dir, judgement)


def _long_csv(levels: Mapping[str, Mapping[str, Scored]]) -> str:
    """Return one row per level and metric, with all decimals."""
    rows = []
    for level, scored in levels.items():
        for name, item in scored.items():
            numbers = (item.value, item.interval.low, item.interval.high)
            cells = ["" if rounded(x) is None else str(rounded(x)) for x in numbers]
            sizes = [str(item.num_images), str(item.num_patients)]
            rows.append([level, name, *cells, *sizes, item.method, item.interval.note])
    return Table("metrics", "", _COLUMNS, rows).csv()


def _table(level: str, scored: Mapping[str, Scored], item: Predictions) -> Table:
    rows = [
        [
            name,
            number(found.value),
            span(found.interval.low, found.interval.high),
            # Of patients there are as many as there are rows judged.
            *([] if level == "patient" else [str(found.num_images)]),
            str(found.num_patients),
            found.method or found.interval.note,
        ]
        for name, found in scored.items()
    ]
    sizes = (f"{level}s",) if level == "patient" else (f"{level}s", "patients")
    return Table(
        f"metrics_{level}",
        f"{level.capitalize()} level: {RULES[level]}",
        ("metric", "value", "interval", *sizes, "method, or why no interval"),
        rows,
        titles={name: metric_title(name) for name in scored},
    )


def _sentences(item: Predictions, metrics: Mapping[str, Any], alpha: float) -> list[str]:
    name = "auroc" if item.num_classes > 1 else "mae"
    found, title = metrics[name], metric_title(name)
    sizes = f"{len(item.labels)} images of {len(np.unique(item.subject_ids))} patients"
    if found["lo"] is None:
        return [f"{title} {number(found['value'])} on {sizes}; no interval: {found['note']}."]
    return [
        f"{title} {number(found['value'])} on {sizes}, {100 * (1 - alpha):g} % interval "
        f"{span(found['lo'], found['hi'])}."
    ]
