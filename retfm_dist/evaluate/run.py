"""An evaluation from config to report.

    OUT/
        config.yaml        resolved config
        environment.json   versions and device
        samples.json       per task: flow from table to analysis, counts, subgroups
        models.json        per model: architecture, provenance, sha256 of the weights
        features/          cache, see `features`
        predictions/       source of truth, see `predictions`
        pictures/          example photographs, only when asked for
        metrics.json       every number, computed from predictions/
        report.md report.html

Tables and features are made by `run`; numbers and report are made anew from predictions/ by
`render`, as often as one likes.
"""

import logging
import platform
import secrets
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import retfm_dist
from retfm_dist.cohort.pseudonym import assign_pseudonyms, load_salt
from retfm_dist.config.load import config_hash, to_yaml
from retfm_dist.console import track
from retfm_dist.durable import staged_directory, write_json, write_text
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.encode.features import FeatureSet, compute_features
from retfm_dist.evaluate.encode.models import Arm, build_arms, choose_device
from retfm_dist.evaluate.predictions import IMAGE_ID_CHARACTERS, Predictions, write_predictions
from retfm_dist.evaluate.protocols import build_protocols, cross_validate, split_folds
from retfm_dist.evaluate.report.examples import write_examples
from retfm_dist.evaluate.report.render import render
from retfm_dist.evaluate.samples import (
    TaskSamples,
    check_classes,
    describe_samples,
    drop_copies,
    drop_missing,
    drop_unreadable,
    hash_images,
    read_tasks,
)

logger = logging.getLogger(__name__)

Ready = tuple[TaskSamples, Mapping[int, str], FeatureSet]
"""A task's usable samples, the sha256 of their images by row, and the features by sha256."""

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

    Started again, it finds the features it has computed. Results of an earlier run are replaced
    when all new ones are there; what fails or is killed before that leaves them as they are.

    Returns:
        Path of report.html.

    Raises:
        RetfmError: Something the config names is missing, damaged or not enough.
    """
    tasks = read_tasks(config)
    arms = build_arms(config)
    salt = load_salt(config.salt) if config.salt else secrets.token_bytes(32)
    out_dir = config.out
    _check_is_ours(out_dir)
    ready = []
    for name in config.tables:
        ready += _prepare_table(name, [t for t in tasks if t.task.table == name], arms, config)
    shutil.rmtree(out_dir / _NEW, ignore_errors=True)
    with staged_directory(out_dir / _NEW) as new_dir:
        _write_results(new_dir, config, arms, ready, salt=salt)
    _replace_results(out_dir)
    return out_dir / "report.html"


def _write_results(
    new_dir: Path,
    config: EvaluateConfig,
    arms: Sequence[Arm],
    ready: Sequence[Ready],
    *,
    salt: bytes,
) -> None:
    """Write everything but the cache of features into an empty directory."""
    write_json(new_dir / "models.json", [describe_arm(arm) for arm in arms])
    write_text(new_dir / "config.yaml", to_yaml(config))
    write_json(new_dir / "environment.json", _describe_environment(config))
    write_json(new_dir / "samples.json", [describe_samples(samples) for samples, _, _ in ready])
    for part in ready:
        for predictions in _predict(*part, arms=arms, config=config, salt=salt):
            write_predictions(new_dir, predictions)
    if config.report.pictures:
        write_examples(new_dir, config, [(samples, digests) for samples, digests, _ in ready])
    render(new_dir)


def validate(config: EvaluateConfig) -> dict[str, Any]:
    """Check everything that can be checked without computing a feature.

    Returns:
        {"tasks": counts and subgroups per task, "models": facts per model}.

    Raises:
        RetfmError: Something the config names is missing, damaged or not enough.
    """
    selected, tasks = read_tasks(config), []
    for name, table in config.tables.items():
        wanted = [samples for samples in selected if samples.task.table == name]
        digests = hash_images(wanted, table, num_threads=config.compute.decode_threads)
        for samples in wanted:
            left = drop_missing(samples, digests, max_bad_ratio=table.max_bad_ratio)
            tasks.append(_check_enough(drop_copies(left, digests), config))
    return {
        "tasks": [describe_samples(samples) for samples in tasks],
        "models": [describe_arm(arm) for arm in build_arms(config)],
    }


def describe_arm(arm: Arm) -> dict[str, Any]:
    """Return what the report says about a model."""
    return {"id": arm.id, "kind": arm.kind, "identity": arm.identity, **arm.facts}


def _prepare_table(
    name: str, tasks: Sequence[TaskSamples], arms: Sequence[Arm], config: EvaluateConfig
) -> list[Ready]:
    """Find the images of a table's tasks, compute their features, and drop what is unusable."""
    table = config.tables[name]
    digests = hash_images(tasks, table, num_threads=config.compute.decode_threads)
    found = [drop_missing(s, digests, max_bad_ratio=table.max_bad_ratio) for s in tasks]
    paths = {
        digests[record.row]: table.images / record.image_path
        for samples in found
        for record in samples.records
    }
    features = compute_features(paths, arms, cache_dir=config.out / _CACHE, compute=config.compute)
    ready = []
    for samples in found:
        left = drop_unreadable(samples, digests, features.bad, max_bad_ratio=table.max_bad_ratio)
        left = _check_enough(drop_copies(left, digests), config)
        ready.append((left, digests, features))
    return ready


def _check_enough(samples: TaskSamples, config: EvaluateConfig) -> TaskSamples:
    """Refuse samples that cannot be split into the folds asked for."""
    check_classes(samples)
    _folds(samples, config)
    return samples


def _folds(samples: TaskSamples, config: EvaluateConfig) -> np.ndarray:
    return split_folds(
        samples.labels,
        samples.patients(),
        num_folds=config.folds,
        seed=config.seed,
        where=f"task {samples.task.id}",
    )


def _predict(
    samples: TaskSamples,
    digests: Mapping[int, str],
    features: FeatureSet,
    *,
    arms: Sequence[Arm],
    config: EvaluateConfig,
    salt: bytes,
) -> list[Predictions]:
    """Predict one task with every model under every protocol, on the same folds."""
    task = samples.task.id
    images = [digests[record.row] for record in samples.records]
    pseudonyms = assign_pseudonyms({record.patient_id for record in samples.records}, salt)
    folds, patients = _folds(samples, config), samples.patients()
    results = []
    for arm in track(arms, description=task, total=len(arms)):
        matrix = features.matrix(arm.id, images)
        if not np.isfinite(matrix).all():
            raise EvaluateError("features are not finite", where=f"model {arm.id}, task {task}")
        for protocol, fit in build_protocols(config, where=f"task {task}"):
            outcome = cross_validate(matrix, samples.labels, patients, folds, fit=fit)
            results.append(
                Predictions(
                    model=arm.id,
                    task=task,
                    protocol=protocol,
                    image_ids=np.array([image[:IMAGE_ID_CHARACTERS] for image in images]),
                    patient_ids=np.array([pseudonyms[r.patient_id] for r in samples.records]),
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
    """Put the new results in the place of the old, so that no old number stands beside them."""
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
        "versions": {
            "retfm_dist": retfm_dist.__version__,
            **{name: version(name) for name in _LIBRARIES},
        },
    }
