"""A whole evaluation: read tables, compute features, predict, write results and report.

    OUT/
        config.yaml        resolved config
        environment.json   versions and device
        samples.json       per task: flow from table to analysis, counts, subgroups
        models.json        per model: architecture, provenance, sha256 of the weights
        features/          cache, see `encode.cache`
        predictions/       source of truth, see `predictions`
        pictures/          example photographs, only when asked for
        metrics.json       every number, computed from predictions/
        report.md report.html

`run_evaluation` writes all of it. metrics.json and the reports are computed from predictions/
alone, by `report.render.render`, which can be called again at any time.
"""

import logging
import platform
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retfm_dist.cohort.pseudonym import assign_pseudonyms, load_salt
from retfm_dist.config.load import config_hash, to_yaml
from retfm_dist.console import track
from retfm_dist.durable import staged_directory, write_json, write_text
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.encode.features import EncodedImages, encode_images
from retfm_dist.evaluate.encode.models import Model, build_models, choose_device
from retfm_dist.evaluate.predictions import Predictions, uid_of, write_predictions
from retfm_dist.evaluate.protocols import build_protocols, cross_validate, split_folds
from retfm_dist.evaluate.report.examples import write_examples
from retfm_dist.evaluate.report.render import render
from retfm_dist.evaluate.samples import (
    TaskSamples,
    describe_samples,
    drop_missing,
    drop_unusable,
    list_photographs,
    read_tasks,
)
from retfm_dist.versions import software_versions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedTask:
    """A task whose photographs have been encoded.

    Attributes:
        samples: Its usable samples.
        encoded: Features and digests of its table's photographs.
        folds: [N] fold of each sample.
    """

    samples: TaskSamples
    encoded: EncodedImages
    folds: NDArray


_CACHE = "features"
_NEW = ".new"
_RESULTS = (
    "config.yaml",
    "environment.json",
    "metrics.json",
    "models.json",
    "pictures",
    "predictions",
    "report.html",
    "report.md",
    "samples.json",
)
_LIBRARIES = ("numpy", "pillow", "scikit-learn", "timm", "torch")


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
    salt = load_salt(config.salt) if config.salt else secrets.token_bytes(32)
    _check_is_ours(config.out)
    tasks = _prepare_tasks(selected, models, config)
    shutil.rmtree(config.out / _NEW, ignore_errors=True)
    with staged_directory(config.out / _NEW) as new_dir:
        write_json(new_dir / "models.json", [describe_model(model) for model in models])
        write_text(new_dir / "config.yaml", to_yaml(config))
        write_json(new_dir / "environment.json", _describe_environment(config))
        write_json(new_dir / "samples.json", [describe_samples(task.samples) for task in tasks])
        for task in tasks:
            for predictions in _predict(task, models=models, config=config, salt=salt):
                write_predictions(new_dir, predictions)
        if config.report.pictures:
            write_examples(new_dir, config, [task.samples for task in tasks])
        render(new_dir)
    _replace_results(config.out)
    return config.out / "report.html"


def validate(config: EvaluateConfig) -> dict[str, Any]:
    """Check everything that can be checked without computing a feature.

    Returns:
        {"tasks": counts and subgroups per task, "models": facts per model}.

    Raises:
        RetfmError: Something the config names is missing, damaged or not enough.
    """
    tasks = _prepare_tasks(read_tasks(config), [], config)
    return {
        "tasks": [describe_samples(task.samples) for task in tasks],
        "models": [describe_model(model) for model in build_models(config)],
    }


def describe_model(model: Model) -> dict[str, Any]:
    """Return what the report says about a model."""
    return {"id": model.id, "kind": model.kind, "identity": model.identity, **model.facts}


def _prepare_tasks(
    tasks: Sequence[TaskSamples], models: Sequence[Model], config: EvaluateConfig
) -> list[PreparedTask]:
    """Read the photographs of every table once, encode them, and drop what is unusable.

    Without models, photographs are hashed only.
    """
    prepared = []
    for name, table in config.tables.items():
        found = [drop_missing(task, table) for task in tasks if task.task.table == name]
        encoded = encode_images(
            list_photographs(found, table),
            models,
            cache_dir=config.out / _CACHE,
            compute=config.compute,
        )
        for task in found:
            samples = drop_unusable(task, encoded, max_bad_ratio=table.max_bad_ratio)
            folds = split_folds(
                samples.labels,
                samples.patients(),
                num_folds=config.folds,
                seed=config.seed,
                where=f"task {samples.task.id}",
            )
            prepared.append(PreparedTask(samples, encoded, folds))
    return prepared


def _predict(
    prepared: PreparedTask, *, models: Sequence[Model], config: EvaluateConfig, salt: bytes
) -> list[Predictions]:
    """Predict one task with every model under every protocol, on the same folds."""
    samples, where = prepared.samples, f"task {prepared.samples.task.id}"
    digests = [prepared.encoded.digests[record.row] for record in samples.records]
    pseudonyms = assign_pseudonyms({record.patient_id for record in samples.records}, salt)
    results = []
    for model in track(models, description=samples.task.id, total=len(models)):
        features = prepared.encoded.matrix(model.id, digests)
        if not np.isfinite(features).all():
            raise EvaluateError("features are not finite", where=f"model {model.id}, {where}")
        for protocol in build_protocols(config):
            outcome = cross_validate(
                features,
                samples.labels,
                samples.patients(),
                prepared.folds,
                fit=protocol.fit,
                where=where,
            )
            results.append(
                Predictions(
                    model=model.id,
                    task=samples.task.id,
                    protocol=protocol.id,
                    uids=np.array([uid_of(digest) for digest in digests]),
                    subject_ids=np.array([pseudonyms[r.patient_id] for r in samples.records]),
                    labels=samples.labels,
                    scores=outcome.scores,
                    folds=outcome.folds,
                    fits=outcome.fits,
                )
            )
    return results


def _check_is_ours(out_dir: Path) -> None:
    """Refuse to write into a directory that holds something other than an evaluation.

    Raises:
        EvaluateError: See above.
    """
    names = {path.name for path in out_dir.iterdir()} if out_dir.is_dir() else set()
    foreign = sorted(name for name in names - {_CACHE, *_RESULTS} if not name.startswith("."))
    if foreign:
        raise EvaluateError(
            "the directory holds something other than an evaluation",
            where=out_dir,
            got=foreign[0],
            hint="choose another --out",
        )


def _replace_results(out_dir: Path) -> None:
    """Replace the old results by the new ones; nothing old is left beside them."""
    for name in _RESULTS:
        path = out_dir / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if (new := out_dir / _NEW / name).exists():
            new.rename(path)
    (out_dir / _NEW).rmdir()


def _describe_environment(config: EvaluateConfig) -> dict[str, Any]:
    return {
        "config_hash": config_hash(config),
        "device": choose_device(config.compute.device).type,
        "python": platform.python_version(),
        "versions": software_versions(*_LIBRARIES),
    }
