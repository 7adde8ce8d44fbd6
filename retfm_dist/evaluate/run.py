"""A whole evaluation: read tables, compute features, predict, write results and report.

    OUT/
        config.yaml        resolved config
        environment.json   versions and device
        overlap.json       per model and task: what of it the model was pre-trained on
        samples.json       per task: flow from table to analysis, counts, subgroups
        models.json        per model: architecture, provenance, sha256 of the weights
        features/          cache, see `encode.cache`
        predictions/       source of truth, see `predictions`
        pictures/          example photographs, only when asked for
        metrics.json       every number, computed from predictions/
        tables/            every table of the report as CSV and LaTeX
        checklists/        reporting checklists, each item marked automatic, partial or human
        report.md report.html

`run_evaluation` writes all of it. metrics.json and the reports are computed from predictions/
alone, by `report.render.render`, which can be called again at any time.
"""

import secrets
from pathlib import Path
from typing import Any

from retfm_dist.cohort.salt import make_salt
from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.describe import describe_evaluation, describe_task
from retfm_dist.evaluate.encode.models import build_models
from retfm_dist.evaluate.overlap import find_overlap
from retfm_dist.evaluate.predict import predict_task
from retfm_dist.evaluate.predictions import write_predictions
from retfm_dist.evaluate.prepare import prepare_tasks
from retfm_dist.evaluate.protocols import build_protocols
from retfm_dist.evaluate.report.examples import write_examples
from retfm_dist.evaluate.report.render import render
from retfm_dist.evaluate.results import check_is_evaluation, new_results
from retfm_dist.evaluate.select import read_tasks


def run_evaluation(config: EvaluateConfig) -> Path:
    """Evaluate every model on every task under every protocol and write the report.

    Features are cached, so a run that was interrupted computes only what is missing. The results
    of an earlier run are kept until all new ones are complete, and then replaced.

    Returns:
        Path of report.html.

    Raises:
        RetfmError: Something the config names is missing, damaged or not enough.
    """
    selected = read_tasks(config)
    models = build_models(config)
    salt = make_salt(config.salt) if config.salt else None
    key = salt or secrets.token_bytes(32)  # a key that is thrown away makes no comparable pseudonym
    check_is_evaluation(config.out)
    tasks = prepare_tasks(selected, models, config)
    protocols = build_protocols(config)
    overlaps = [
        {model.id: find_overlap(task, model, salt=salt) for model in models} for task in tasks
    ]
    with new_results(config.out) as new_dir:
        describe_evaluation(new_dir, config, models=models, tasks=tasks, overlaps=overlaps)
        for task, found in zip(tasks, overlaps, strict=True):
            for predictions in predict_task(
                task, models=models, protocols=protocols, salt=key, overlaps=found
            ):
                write_predictions(new_dir, predictions)
        if config.report.pictures:
            write_examples(new_dir, config, [task.samples for task in tasks])
        render(new_dir)
    return config.out / "report.html"


def validate(config: EvaluateConfig) -> dict[str, Any]:
    """Check everything that can be checked without computing a feature.

    Returns:
        {"tasks": counts and subgroups per task, "models": facts per model}.

    Raises:
        RetfmError: Something the config names is missing, damaged or not enough.
    """
    tasks = prepare_tasks(read_tasks(config), [], config)
    return {
        "tasks": [describe_task(task) for task in tasks],
        "models": [model.describe() for model in build_models(config)],
    }
