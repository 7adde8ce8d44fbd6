"""From the selected rows of each task to encoded photographs and folds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.encode.features import EncodedImages, encode_images
from retfm_dist.evaluate.encode.looks import looks_model
from retfm_dist.evaluate.encode.models import Model
from retfm_dist.evaluate.folds import split_folds
from retfm_dist.evaluate.lookalikes import Lookalikes, find_lookalikes, link_patients
from retfm_dist.evaluate.results import CACHE_NAME
from retfm_dist.evaluate.samples import TaskSamples
from retfm_dist.evaluate.usable import drop_missing, drop_unusable, list_photographs


@dataclass(frozen=True)
class PreparedTask:
    """A task whose photographs have been encoded.

    Attributes:
        samples: Its usable samples.
        encoded: Features and digests of its table's photographs.
        lookalikes: Which of them look the same.
        folds: [R, N] fold of each sample in each repeat of the cross-validation; None where the
            task has fixed sets.
    """

    samples: TaskSamples
    encoded: EncodedImages
    lookalikes: Lookalikes
    folds: NDArray | None

    def linked_patients(self) -> NDArray:
        """Return [N] codes under which patients that share an image are one, as in the folds."""
        return link_patients(self.samples.patients(), self.lookalikes.pairs)


def prepare_tasks(
    tasks: Sequence[TaskSamples], models: Sequence[Model], config: EvaluateConfig
) -> list[PreparedTask]:
    """Read the photographs of every table once, encode them, and drop what is unusable.

    Args:
        tasks: Selected rows of every task.
        models: What computes features, beside the perceptual hash.
        config: The evaluation.

    Raises:
        EvaluateError: Too many images are missing or unreadable, or too few are left for the folds.
    """
    prepared = []
    for name, table in config.tables.items():
        found = [drop_missing(task, table) for task in tasks if task.task.table == name]
        encoded = encode_images(
            list_photographs(found, table),
            [*models, looks_model()],
            cache_dir=config.out / CACHE_NAME,
            compute=config.compute,
        )
        for task in found:
            samples = drop_unusable(task, encoded, max_bad_ratio=table.max_bad_ratio)
            lookalikes = find_lookalikes(samples, encoded)
            folds = None
            if samples.splits is None:
                linked = link_patients(samples.patients(), lookalikes.pairs)
                folds = _draw_folds(samples, linked, config)
            prepared.append(PreparedTask(samples, encoded, lookalikes, folds))
    return prepared


def _draw_folds(samples: TaskSamples, patients: NDArray, config: EvaluateConfig) -> NDArray:
    """Return [R, N] the fold of each image in each repeat, given the patients' codes."""
    folds = [
        split_folds(
            samples.labels,
            patients,
            classes=samples.classes,
            num_folds=config.folds,
            seed=config.seed + repeat,
            where=f"task {samples.task.id}",
        )
        for repeat in range(config.repeats)
    ]
    return np.array(folds)
