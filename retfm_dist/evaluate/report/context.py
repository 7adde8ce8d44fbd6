"""What the templates of the report show."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retfm_dist.cohort.disclosure import SMALLEST_CELL
from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.judge.titles import metric_title
from retfm_dist.evaluate.report.compute import PairResult, Result
from retfm_dist.evaluate.report.examples import examples_source, show_examples
from retfm_dist.evaluate.report.figures import PALETTE
from retfm_dist.evaluate.report.plots import draw_figures
from retfm_dist.evaluate.report.remarks import group_remarks, remarks_of
from retfm_dist.evaluate.report.sentences import copy_warnings, overlap_warnings, summarize
from retfm_dist.evaluate.report.tables import operating_points, printable_subgroups

_KINDS = {
    "export": "pre-trained model",
    "random_init": "control: before pre-training",
    "handcrafted": "floor: color and texture statistics",
}


def make_context(
    out_dir: Path,
    config: EvaluateConfig,
    facts: Mapping[str, Any],
    titles: Mapping[str, str],
    results: Sequence[Result],
    pairs: Sequence[PairResult],
) -> dict[str, Any]:
    """Return what the templates show.

    Args:
        out_dir: Directory of the evaluation.
        config: Its config.
        facts: Content of its JSON files, by name.
        titles: Of the protocols, by id.
        results: Every model on every task under every protocol.
        pairs: Comparisons.
    """
    source_model, source_protocol = examples_source(config)
    samples = {task["id"]: task for task in facts["samples"]}
    slots = {model.id: slot for slot, model in enumerate(config.models)}
    return {
        "config": config,
        "coverage": f"{100 * (1 - config.bootstrap.alpha):g} %",
        "environment": facts["environment"],
        "sentences": summarize(pairs, config, titles),
        "warnings": [
            *overlap_warnings(facts["overlap"], config),
            *copy_warnings(facts["samples"]),
        ],
        "models": [
            {**model, "kind": _KINDS[model["kind"]], "color": PALETTE[slots[model["id"]] % 6]}
            for model in facts["models"]
        ],
        "tasks": [
            {
                **samples[task.id],
                "config": task,
                "primary": metric_title(task.label.primary),
                "subgroups": printable_subgroups(samples[task.id]["subgroups"]),
                "rows": [_row(item, titles) for item in results if item.key[1] == task.id],
                "points": [
                    point
                    for item in results
                    if item.key[1] == task.id
                    for point in operating_points(item, titles)
                ],
                "pairs": [_pair_row(pair, titles) for pair in pairs if pair.task == task.id],
                "figures": list(draw_figures(task, config, titles, results)),
                "pictures": show_examples(out_dir, config, task),
            }
            for task in config.tasks
        ],
        "examples_source": (source_model, source_protocol.title),
        "remarks": group_remarks(results, {task.id: task.title for task in config.tasks}, titles),
        "smallest_cell": SMALLEST_CELL,
    }


def _row(result: Result, titles: Mapping[str, str]) -> dict[str, Any]:
    """Return one line of the table of results."""
    scored, by_patient = result.scored[result.primary], result.by_patient.get(result.primary)
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
        "auroc": result.scored["auroc"].value,
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
        "metric": metric_title(pair.comparison.metric),
        "value": test.value,
        "low": test.interval.low,
        "high": test.interval.high,
        "p_holm": pair.p_holm,
        "verdict": pair.verdict,
    }
