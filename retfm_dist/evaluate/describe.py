"""Description of an evaluation: config, versions, models, and counts without any identifier."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retfm_dist.cohort.composition import GROUPINGS, MISSING, group_of, group_order
from retfm_dist.config.load import config_hash, to_yaml
from retfm_dist.durable import write_json, write_text
from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.encode.models import Model
from retfm_dist.evaluate.samples import TaskSamples
from retfm_dist.statistics.clusters import PatientCounts, count_patients
from retfm_dist.statistics.planning import AUROC, auroc_error, smallest_margin
from retfm_dist.versions import software_versions

_LIBRARIES = ("numpy", "pillow", "scikit-learn", "timm", "torch")


def describe_evaluation(
    new_dir: Path,
    config: EvaluateConfig,
    *,
    models: Sequence[Model],
    samples: Sequence[TaskSamples],
) -> None:
    """Write config.yaml, environment.json, models.json and samples.json.

    Args:
        new_dir: Where to.
        config: The evaluation.
        models: Its models.
        samples: Usable samples of every task.
    """
    write_text(new_dir / "config.yaml", to_yaml(config))
    write_json(new_dir / "models.json", [model.describe() for model in models])
    write_json(new_dir / "samples.json", [describe_samples(task) for task in samples])
    devices = {model.extractor.device.type for model in models}
    write_json(
        new_dir / "environment.json",
        {
            "config_hash": config_hash(config),
            "device": "cuda" if "cuda" in devices else "cpu",
            "python": platform.python_version(),
            "versions": software_versions(*_LIBRARIES),
        },
    )


def describe_samples(samples: TaskSamples) -> dict[str, Any]:
    """Return flow, counts and subgroup sizes as JSON values, without any identifier."""
    patients = samples.patients()
    by_class = count_patients(samples.labels, patients)
    num_positive = int(samples.labels.sum())
    return {
        "id": samples.task.id,
        "title": samples.task.title,
        "num_rows": samples.num_rows,
        "excluded": [
            {"reason": exclusion.reason, "num_images": exclusion.num_images}
            for exclusion in samples.exclusions
        ],
        "num_images": len(samples.records),
        "num_positive_images": num_positive,
        "num_negative_images": len(samples.records) - num_positive,
        "num_patients": by_class.positive + by_class.negative,
        "num_positive_patients": by_class.positive,
        "num_negative_patients": by_class.negative,
        "subgroups": _subgroups(samples, patients),
        "expected": _expected(by_class),
    }


def _expected(patients: PatientCounts) -> dict[str, float]:
    """Return what the task can show, if a model reaches the AUROC assumed for planning."""
    error = auroc_error(patients.positive, patients.negative)
    return {
        "auroc": AUROC,
        "interval_width": round(2 * 1.96 * error, 3),
        "smallest_equivalence_margin": round(
            smallest_margin(patients.positive, patients.negative), 3
        ),
    }


def _subgroups(samples: TaskSamples, patients: NDArray) -> list[dict[str, Any]]:
    """Count images, patients and positive patients per group of each attribute that is known."""
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
                        np.unique(patients[inside & (samples.labels == 1)])
                    ),
                }
            )
    known = {row["attribute"] for row in rows if row["group"] != MISSING}
    return [row for row in rows if row["attribute"] in known]
