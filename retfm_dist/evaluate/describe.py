"""Description of an evaluation: config, versions, models, and counts without any identifier."""

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retfm_dist.cohort.composition import GROUPINGS, MISSING, group_of, group_order
from retfm_dist.config.load import config_hash, to_yaml
from retfm_dist.durable import write_json, write_text
from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.encode.models import Model
from retfm_dist.evaluate.overlap import Overlap
from retfm_dist.evaluate.prepare import PreparedTask
from retfm_dist.evaluate.samples import TaskSamples
from retfm_dist.statistics.clusters import code_patients, patient_labels
from retfm_dist.statistics.planning import AUROC, auroc_error, smallest_margin
from retfm_dist.versions import software_versions

_LIBRARIES = ("numpy", "pillow", "scikit-learn", "timm", "torch")


def describe_evaluation(
    new_dir: Path,
    config: EvaluateConfig,
    *,
    models: Sequence[Model],
    tasks: Sequence[PreparedTask],
    overlaps: Sequence[Mapping[str, Overlap]],
) -> None:
    """Write config.yaml, environment.json, models.json, overlap.json and samples.json.

    Args:
        new_dir: Where to.
        config: The evaluation.
        models: Its models.
        tasks: Every task.
        overlaps: Per task, what of it each model was pre-trained on, by the model's id.
    """
    write_text(new_dir / "config.yaml", to_yaml(config))
    write_json(new_dir / "models.json", [model.describe() for model in models])
    write_json(
        new_dir / "overlap.json",
        [overlap.facts for by_model in overlaps for overlap in by_model.values()],
    )
    write_json(new_dir / "samples.json", [describe_task(task) for task in tasks])
    devices = {model.extractor.device.type for model in models}
    write_json(
        new_dir / "environment.json",
        {
            "config_hash": config_hash(config),
            "date": datetime.now(timezone.utc).date().isoformat(),
            "device": "cuda" if "cuda" in devices else "cpu",
            "python": platform.python_version(),
            "versions": software_versions(*_LIBRARIES),
        },
    )


def describe_task(prepared: PreparedTask) -> dict[str, Any]:
    """Return flow, counts, copies and subgroup sizes as JSON values, without any identifier."""
    samples = prepared.samples
    patients = samples.patients()
    return {
        "id": samples.task.id,
        "title": samples.task.title,
        "num_rows": samples.num_rows,
        "excluded": [
            {"reason": exclusion.reason, "num_images": exclusion.num_images}
            for exclusion in samples.exclusions
        ],
        "num_images": len(samples.records),
        "num_patients": int(patients.max()) + 1,
        "patients_are_known": samples.patients_are_known,
        "classes": _classes(samples, np.ones(len(patients), bool)),
        "sets": _sets(samples),
        "alike": prepared.lookalikes.describe(),
        "possible_folds": _possible_folds(prepared),
        "subgroups": _subgroups(samples, patients),
        "expected": _expected(samples),
    }


def _classes(samples: TaskSamples, inside: NDArray) -> list[dict[str, Any]]:
    """Count images and patients of each class; a patient is of the class of its worst image."""
    labels, patients = samples.labels[inside], code_patients(samples.patients()[inside])
    worst = patient_labels(labels, patients)
    return [
        {
            "name": name,
            "num_images": int((labels == label).sum()),
            "num_patients": int((worst == label).sum()),
        }
        for label, name in enumerate(samples.classes)
    ]


def _possible_folds(prepared: PreparedTask) -> dict[str, int] | None:
    """Return the largest numbers of folds, and of inner folds; None for fixed sets.

    Patients with images that look the same count as one, for they stay together.
    """
    samples = prepared.samples
    if prepared.folds is None:
        return None
    linked = prepared.linked_patients()
    classes = range(len(samples.classes))
    inner = [
        len(np.unique(linked[(samples.labels == label) & (folds != fold)]))
        for folds in prepared.folds
        for fold in np.unique(folds)
        for label in classes
    ]
    outer = [len(np.unique(linked[samples.labels == label])) for label in classes]
    return {"folds": min(outer), "inner_folds": min(inner)}


def _sets(samples: TaskSamples) -> list[dict[str, Any]]:
    """Count the classes of the train, validation and test set; empty where there are none."""
    if samples.splits is None:
        return []
    return [
        {"name": name, "classes": _classes(samples, samples.splits == name)}
        for name in ("train", "val", "test")
        if (samples.splits == name).any()
    ]


def _expected(samples: TaskSamples) -> dict[str, float]:
    """Return what the task can show, if a model reaches the AUROC assumed for planning.

    Of more than two classes, for the rarest one against the rest.
    """
    labels, patients = samples.labels, samples.patients()
    if samples.splits is not None:
        labels, patients = labels[samples.splits == "test"], patients[samples.splits == "test"]
    # A patient whose images are of both sides counts on both; so neither side is empty.
    rarest, rest = min(
        (len(np.unique(patients[labels == label])), len(np.unique(patients[labels != label])))
        for label in np.unique(labels)
    )
    return {
        "auroc": AUROC,
        "interval_width": round(2 * 1.96 * auroc_error(rarest, rest), 3),
        "smallest_equivalence_margin": round(smallest_margin(rarest, rest), 3),
    }


def _subgroups(samples: TaskSamples, patients: NDArray) -> list[dict[str, Any]]:
    """Count images, patients and those not of class 0 per group of each known attribute."""
    rows = []
    for grouping in GROUPINGS:
        groups = np.array([group_of(record, grouping) for record in samples.records], object)
        for group in sorted(set(groups), key=lambda name: group_order((name,))):
            inside = groups == group
            rows.append(
                {
                    "attribute": grouping,
                    "group": group,
                    "num_images": int(inside.sum()),
                    "num_patients": len(np.unique(patients[inside])),
                    "num_positive_patients": len(
                        np.unique(patients[inside & (samples.labels > 0)])
                    ),
                }
            )
    known = {row["attribute"] for row in rows if row["group"] != MISSING}
    return [row for row in rows if row["attribute"] in known]
