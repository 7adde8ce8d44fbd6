"""The report: one HTML file that needs nothing else, and the same in Markdown.

Everything is computed from predictions/ and the JSON files beside it; the same input gives the
same bytes.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from retfm_dist.cohort.disclosure import SMALLEST_CELL, printable_groups
from retfm_dist.config.load import read_config
from retfm_dist.durable import write_json, write_text
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.predictions import Predictions, predictions_path, read_predictions
from retfm_dist.evaluate.protocols import build_protocols
from retfm_dist.evaluate.report.examples import (
    GROUPS,
    choose_examples,
    examples_source,
    picture_path,
)
from retfm_dist.evaluate.report.figures import PALETTE, NamedCurve, draw_roc
from retfm_dist.evaluate.score import Score, metrics_json, score_predictions, trace_roc

_GROUP_TITLES = {
    "positive_high": "Positive, scored highest",
    "positive_low": "Positive, scored lowest",
    "negative_low": "Negative, scored lowest",
    "negative_high": "Negative, scored highest",
}
_KINDS = {
    "export": "pre-trained model",
    "random_init": "control: before pre-training",
    "handcrafted": "floor: color and texture statistics",
}


def render(out_dir: Path) -> Path:
    """Compute metrics.json, report.md and report.html from the predictions in `out_dir`.

    Returns:
        Path of report.html.

    Raises:
        EvaluateError: `out_dir` holds no evaluation, or its predictions are incomplete.
    """
    config = _read_config(out_dir)
    titles = {protocol.id: protocol.title for protocol in build_protocols(config)}
    predictions = [
        read_predictions(predictions_path(out_dir, model=model.id, task=task.id, protocol=protocol))
        for task in config.tasks
        for model in config.models
        for protocol in titles
    ]
    scores = [
        score_predictions(item, bootstrap=config.bootstrap, seed=config.seed)
        for item in predictions
    ]
    write_json(out_dir / "metrics.json", metrics_json(scores, bootstrap=config.bootstrap))
    context = _context(out_dir, config, titles, predictions, scores)
    write_text(out_dir / "report.md", _template("report.md.j2").render(context))
    path = out_dir / "report.html"
    write_text(path, _template("report.html.j2").render(context))
    return path


def _read_config(out_dir: Path) -> EvaluateConfig:
    path = out_dir / "config.yaml"
    if not path.is_file() or not (out_dir / "samples.json").is_file():
        raise EvaluateError(
            "no evaluation here",
            where=out_dir,
            expected="config.yaml and samples.json",
            hint="run python -m retfm_dist.evaluate run first",
        )
    return read_config(path, [], EvaluateConfig)


def _template(name: str) -> Any:
    environment = Environment(
        loader=PackageLoader("retfm_dist.evaluate.report", "templates"),
        autoescape=name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|")
    return environment.get_template(name)


def _context(
    out_dir: Path,
    config: EvaluateConfig,
    titles: Mapping[str, str],
    predictions: Sequence[Predictions],
    scores: Sequence[Score],
) -> dict[str, Any]:
    """Return what the templates show; `titles` are those of the protocols, by id."""
    source_model, source_protocol = examples_source(config)
    samples = {task["id"]: task for task in _read_json(out_dir / "samples.json")}
    slots = {model.id: slot for slot, model in enumerate(config.models)}
    return {
        "config": config,
        "coverage": f"{100 * (1 - config.bootstrap.alpha):g} %",
        "environment": _read_json(out_dir / "environment.json"),
        "models": [
            {**model, "kind": _KINDS[model["kind"]], "color": PALETTE[slots[model["id"]] % 6]}
            for model in _read_json(out_dir / "models.json")
        ],
        "tasks": [
            {
                **samples[task.id],
                "config": task,
                "subgroups": _printable_subgroups(samples[task.id]["subgroups"]),
                "rows": [_row(score, titles) for score in scores if score.task == task.id],
                "figures": list(_figures(task.id, config, titles, predictions, scores)),
                "pictures": _pictures(out_dir, config, task.id),
            }
            for task in config.tasks
        ],
        "examples_source": (source_model, source_protocol.title),
        "remarks": _group_remarks(scores, titles),
        "smallest_cell": SMALLEST_CELL,
    }


def _row(score: Score, titles: Mapping[str, str]) -> dict[str, Any]:
    """Return one line of the table of results."""
    chosen = sorted({fit["c"] for fit in score.fits if "c" in fit})
    return {
        "model": score.model,
        "protocol": titles[score.protocol],
        "value": score.value,
        "low": score.interval.low,
        "high": score.interval.high,
        "within_folds": score.within_folds,
        "num_images": score.num_images,
        "num_patients": score.num_patients,
        "c": ", ".join(f"{c:g}" for c in chosen),
        "remarks": _remarks(score),
    }


def _remarks(score: Score) -> list[str]:
    """Return what a reader has to know before trusting a number."""
    remarks = [score.interval.note] if score.interval.note else []
    chosen = [fit["c"] for fit in score.fits if fit.get("c_at_grid_edge")]
    if chosen:
        edges = ", ".join(f"{c:g}" for c in sorted(set(chosen)))
        remarks.append(
            f"C at the edge of the grid ({edges}) in {len(chosen)} of {len(score.fits)} folds"
        )
    if not all(fit.get("converged", True) for fit in score.fits):
        remarks.append("a fit did not converge")
    if score.interval.num_degenerate:
        remarks.append(f"{score.interval.num_degenerate} resamples lack one class")
    return remarks


def _group_remarks(scores: Sequence[Score], titles: Mapping[str, str]) -> dict[str, list[str]]:
    """Return each remark with where it applies."""
    sources: dict[str, list[str]] = {}
    for score in scores:
        for remark in _remarks(score):
            source = f"{score.task}, {score.model}, {titles[score.protocol]}"
            sources.setdefault(remark, []).append(source)
    return sources


def _figures(
    task: str,
    config: EvaluateConfig,
    titles: Mapping[str, str],
    predictions: Sequence[Predictions],
    scores: Sequence[Score],
) -> Iterator[dict[str, Any]]:
    """Yield one figure per protocol, with the curves of all models."""
    slots = {model.id: slot for slot, model in enumerate(config.models)}
    for protocol, protocol_title in titles.items():
        curves = [
            NamedCurve(
                label=f"{score.model}  {_interval_text(score)}",
                slot=slots[score.model],
                curve=trace_roc(item, score, bootstrap=config.bootstrap, seed=config.seed),
            )
            for item, score in zip(predictions, scores, strict=True)
            if (score.task, score.protocol) == (task, protocol)
        ]
        title = f"{task}, {protocol_title}"
        svg = draw_roc(curves, title=f"ROC curves: {title}", prefix=f"{task}-{protocol}")
        yield {"title": protocol_title, "svg": Markup(svg)}


def _interval_text(score: Score) -> str:
    interval = score.interval
    if interval.low is None or interval.high is None:
        return f"{score.value:.2f}"
    return f"{score.value:.2f} ({interval.low:.2f}-{interval.high:.2f})"


def _printable_subgroups(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Return subgroup sizes as text, with what would single somebody out hidden."""
    return [
        printable
        for attribute in dict.fromkeys(row["attribute"] for row in rows)
        for printable in printable_groups(
            attribute, [row for row in rows if row["attribute"] == attribute]
        )
    ]


def _pictures(out_dir: Path, config: EvaluateConfig, task: str) -> list[dict[str, Any]]:
    """Return the example photographs by group, as data addresses; empty unless asked for."""
    if not config.report.pictures:
        return []
    model, protocol = examples_source(config)
    predictions = read_predictions(
        predictions_path(out_dir, model=model, task=task, protocol=protocol.id)
    )
    groups: dict[str, list[dict[str, str]]] = {name: [] for name in GROUPS}
    for example in choose_examples(predictions):
        uid = str(predictions.uids[example.index])
        path = picture_path(out_dir, task, uid)
        if path.is_file():
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            score = f"{predictions.scores[example.index]:.2f}"
            groups[example.group].append(
                {"uid": uid, "score": score, "src": f"data:image/jpeg;base64,{data}"}
            )
    return [
        {"title": _GROUP_TITLES[name], "items": items} for name, items in groups.items() if items
    ]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluateError(
            "cannot read a file of the evaluation",
            where=path,
            got=error,
            hint="run python -m retfm_dist.evaluate run again",
        ) from error
