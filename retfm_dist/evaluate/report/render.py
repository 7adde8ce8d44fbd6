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
from retfm_dist.evaluate.config import EvaluateConfig, TaskConfig
from retfm_dist.evaluate.judge.curves import trace_roc
from retfm_dist.evaluate.judge.measure import Scored
from retfm_dist.evaluate.judge.tables import markdown_text
from retfm_dist.evaluate.predictions import predictions_path
from retfm_dist.evaluate.predictions_file import read_predictions
from retfm_dist.evaluate.protocols import build_protocols
from retfm_dist.evaluate.report.compute import (
    PairResult,
    Result,
    compare_with_first,
    compute_results,
    metrics_json,
)
from retfm_dist.evaluate.report.examples import (
    GROUPS,
    choose_examples,
    examples_source,
    picture_path,
)
from retfm_dist.evaluate.report.figures import PALETTE, NamedCurve, draw_roc
from retfm_dist.evaluate.report.panels import PanelModel, draw_panels
from retfm_dist.evaluate.report.remarks import group_remarks, remarks_of
from retfm_dist.evaluate.report.sentences import overlap_warnings, summarize
from retfm_dist.statistics.bootstrap import seed_for

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
        EvaluateError: `out_dir` holds no evaluation, or its predictions are incomplete or faulty.
    """
    config = _read_config(out_dir)
    titles = {protocol.id: protocol.title for protocol in build_protocols(config)}
    results = compute_results(out_dir, config, tuple(titles))
    pairs = compare_with_first(results, config)
    write_json(out_dir / "metrics.json", metrics_json(results, pairs))
    context = _context(out_dir, config, titles, results, pairs)
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
    environment.filters["cell"] = markdown_text
    return environment.get_template(name)


def _context(
    out_dir: Path,
    config: EvaluateConfig,
    titles: Mapping[str, str],
    results: Sequence[Result],
    pairs: Sequence[PairResult],
) -> dict[str, Any]:
    """Return what the templates show; `titles` are those of the protocols, by id."""
    source_model, source_protocol = examples_source(config)
    samples = {task["id"]: task for task in _read_json(out_dir / "samples.json")}
    slots = {model.id: slot for slot, model in enumerate(config.models)}
    return {
        "config": config,
        "coverage": f"{100 * (1 - config.bootstrap.alpha):g} %",
        "environment": _read_json(out_dir / "environment.json"),
        "sentences": summarize(pairs, config, titles),
        "warnings": overlap_warnings(_read_json(out_dir / "overlap.json"), config),
        "models": [
            {**model, "kind": _KINDS[model["kind"]], "color": PALETTE[slots[model["id"]] % 6]}
            for model in _read_json(out_dir / "models.json")
        ],
        "tasks": [
            {
                **samples[task.id],
                "config": task,
                "subgroups": _printable_subgroups(samples[task.id]["subgroups"]),
                "rows": [_row(item, titles) for item in results if item.key[1] == task.id],
                "pairs": [_pair_row(pair, titles) for pair in pairs if pair.task == task.id],
                "figures": list(_figures(task, config, titles, results)),
                "pictures": _pictures(out_dir, config, task.id),
            }
            for task in config.tasks
        ],
        "examples_source": (source_model, source_protocol.title),
        "remarks": group_remarks(results, titles),
        "smallest_cell": SMALLEST_CELL,
    }


def _row(result: Result, titles: Mapping[str, str]) -> dict[str, Any]:
    """Return one line of the table of results."""
    scored, by_patient = result.scored["auroc"], result.by_patient.get("auroc")
    chosen = sorted({fit["c"] for fit in result.predictions.fits if "c" in fit})
    return {
        "model": result.predictions.model,
        "protocol": titles[result.predictions.protocol],
        "value": scored.value,
        "low": scored.interval.low,
        "high": scored.interval.high,
        "pooled": result.pooled,
        "unseen": result.unseen,
        "by_patient": by_patient.value if by_patient else None,
        "auprc": result.scored["auprc"].value,
        "brier": result.scored["brier"].value,
        "num_images": scored.num_images,
        "num_patients": scored.num_patients,
        "method": scored.method,
        "c": ", ".join(f"{c:g}" for c in chosen),
        "remarks": remarks_of(result),
    }


def _pair_row(pair: PairResult, titles: Mapping[str, str]) -> dict[str, Any]:
    """Return one line of the table of differences."""
    test = pair.comparison.test
    return {
        "a": pair.model_a,
        "b": pair.model_b,
        "protocol": titles[pair.protocol],
        "value": test.value,
        "low": test.interval.low,
        "high": test.interval.high,
        "p_holm": pair.p_holm,
        "verdict": pair.verdict,
    }


def _figures(
    task: TaskConfig,
    config: EvaluateConfig,
    titles: Mapping[str, str],
    results: Sequence[Result],
) -> Iterator[dict[str, Any]]:
    """Yield two figures per protocol: ROC with a panel for each model, and the other curves."""
    for protocol, protocol_title in titles.items():
        curves = [
            NamedCurve(
                label=result.predictions.model,
                note=_interval_text(result.scored["auroc"]),
                slot=slot,
                curve=trace_roc(
                    result.predictions,
                    num_resamples=config.bootstrap.num_resamples,
                    seed=seed_for(config.seed, task.id, "auroc"),
                    alpha=config.bootstrap.alpha,
                    has_band=result.scored["auroc"].interval.low is not None,
                ),
            )
            for slot, result in enumerate(
                item for item in results if item.key[1:] == (task.id, protocol)
            )
        ]
        svg = draw_roc(
            curves,
            title=f"ROC curves: {task.title}, {protocol_title}",
            prefix=f"{task.id}-{protocol}",
        )
        yield {"title": protocol_title, "svg": Markup(svg)}
        models = [
            PanelModel(result.predictions, slot)
            for slot, result in enumerate(
                item for item in results if item.key[1:] == (task.id, protocol)
            )
        ]
        title = f"Precision-recall, reliability and decision curves: {task.title}, {protocol_title}"
        svg = draw_panels(models, title=title, prefix=f"{task.id}-{protocol}-more")
        yield {
            "title": f"{protocol_title}: precision and recall, calibration, net benefit",
            "svg": Markup(svg),
        }


def _interval_text(scored: Scored) -> str:
    low, high = scored.interval.low, scored.interval.high
    if low is None or high is None:
        return f"{scored.value:.2f}"
    return f"{scored.value:.2f} ({low:.2f}-{high:.2f})"


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
