"""From the selected rows of each task to encoded photographs and folds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.encode.features import EncodedImages, encode_images
from retfm_dist.evaluate.encode.models import Model
from retfm_dist.evaluate.folds import split_folds
from retfm_dist.evaluate.results import CACHE_NAME
from retfm_dist.evaluate.samples import TaskSamples
from retfm_dist.evaluate.usable import drop_missing, drop_unusable, list_photographs


@dataclass(frozen=True)
class PreparedTask:
    """A task whose photographs have been encoded.

    Attributes:
        samples: Its usable samples.
        encoded: Features and digests of its table's photographs.
        folds: [R, N] fold of each sample in each repeat of the cross-validation.
    """

    samples: TaskSamples
    encoded: EncodedImages
    folds: NDArray


def prepare_tasks(
    tasks: Sequence[TaskSamples], models: Sequence[Model], config: EvaluateConfig
) -> list[PreparedTask]:
    """Read the photographs of every table once, encode them, and drop what is unusable.

    Args:
        tasks: Selected rows of every task.
        models: What computes features; without any, photographs are hashed only.
        config: The evaluation.

    Raises:
        EvaluateError: Too many images are missing or unreadable, or too few are left for the folds.
    """
    prepared = []
    for name, table in config.tables.items():
        found = [drop_missing(task, table) for task in tasks if task.task.table == name]
        encoded = encode_images(
            list_photographs(found, table),
            models,
            cache_dir=config.out / CACHE_NAME,
            compute=config.compute,
        )
        for task in found:
            samples = drop_unusable(task, encoded, max_bad_ratio=table.max_bad_ratio)
            patients = samples.patients()
            folds = [
                split_folds(
                    samples.labels,
                    patients,
                    num_folds=config.folds,
                    seed=config.seed + repeat,
                    where=f"task {samples.task.id}",
                )
                for repeat in range(config.repeats)
            ]
            prepared.append(PreparedTask(samples, encoded, np.array(folds)))
    return prepared
