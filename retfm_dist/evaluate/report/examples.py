"""Example photographs for the report: chosen by rule, never by eye, and only when asked for.

    pictures/TASK/UID.jpg

For each task, under the first model's last protocol: of the images of the last class and of those
of the first, those with the highest and those with the lowest probability of the last.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from retfm_dist.durable import open_atomic
from retfm_dist.evaluate.config import EvaluateConfig, TaskConfig
from retfm_dist.evaluate.encode.photographs import prepare_squares, read_file
from retfm_dist.evaluate.predictions import Predictions, predictions_path
from retfm_dist.evaluate.predictions_file import read_predictions
from retfm_dist.evaluate.protocols import Protocol, build_protocols
from retfm_dist.evaluate.samples import TaskSamples
from retfm_dist.image.encode import encode_jpeg

PER_GROUP = 4
GROUPS = ("positive_high", "positive_low", "negative_low", "negative_high")
"""Label and end of the scores: right, wrong, right, wrong."""
_SIDE_PX = 224
_JPEG_QUALITY = 85


@dataclass(frozen=True)
class Example:
    """One chosen image.

    Attributes:
        index: Row of the predictions.
        group: One of GROUPS.
    """

    index: int
    group: str


def choose_examples(predictions: Predictions) -> list[Example]:
    """Return the images at both ends of the scores of each class, at most four per end.

    The two ends never share an image.
    """
    chosen = []
    last = predictions.num_classes - 1
    for label, right, wrong in ((last, *GROUPS[:2]), (0, *GROUPS[2:])):
        rows = np.flatnonzero(predictions.labels == label)
        # Most surely right first.
        sign = -1 if label else 1
        ranked = rows[np.argsort(sign * predictions.scores[rows], kind="stable")]
        count = min(PER_GROUP, len(ranked) // 2)
        chosen += [Example(int(row), right) for row in ranked[:count]]
        chosen += [Example(int(row), wrong) for row in ranked[::-1][:count]]
    return chosen


def examples_source(config: EvaluateConfig) -> tuple[str, Protocol]:
    """Return the id of the model and the protocol whose predictions choose the examples."""
    return config.models[0].id, build_protocols(config)[-1]


def write_examples(out_dir: Path, config: EvaluateConfig, tasks: Sequence[TaskSamples]) -> None:
    """Write the chosen photographs of each task, cropped and small.

    Args:
        out_dir: Output directory of the evaluation, predictions included.
        config: The evaluation.
        tasks: Samples of each task, in the order of their predictions.
    """
    model, protocol = examples_source(config)
    for samples in tasks:
        task, table = samples.task.id, config.tables[samples.task.table]
        predictions = read_predictions(
            predictions_path(out_dir, model=model, task=task, protocol=protocol.id)
        )
        for example in choose_examples(predictions):
            record = samples.records[samples.predicted()[example.index]]
            path, where = table.images_dir / record.image_path, f"{table.path}, row {record.row}"
            pixels = prepare_squares(read_file(path, where=where), [_SIDE_PX])[_SIDE_PX]
            picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
            uid = str(predictions.uids[example.index])
            with open_atomic(picture_path(out_dir, task, uid)) as file:
                file.write(encode_jpeg(picture, quality=_JPEG_QUALITY))


def picture_path(out_dir: Path, task: str, uid: str) -> Path:
    """Return where the example photograph of an image lies."""
    return out_dir / "pictures" / task / f"{uid}.jpg"


def show_examples(out_dir: Path, config: EvaluateConfig, task: TaskConfig) -> list[dict[str, Any]]:
    """Return the example photographs by group, as data addresses; empty unless asked for."""
    if not config.report.pictures:
        return []
    model, protocol = examples_source(config)
    predictions = read_predictions(
        predictions_path(out_dir, model=model, task=task.id, protocol=protocol.id)
    )
    groups: dict[str, list[dict[str, str]]] = {name: [] for name in GROUPS}
    for example in choose_examples(predictions):
        uid = str(predictions.uids[example.index])
        path = picture_path(out_dir, task.id, uid)
        if path.is_file():
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            score = f"{predictions.scores[example.index]:.2f}"
            groups[example.group].append(
                {"uid": uid, "score": score, "src": f"data:image/jpeg;base64,{data}"}
            )
    first, *_, last = (name.capitalize() for name in task.label.values)
    titles: dict[str, str] = dict(
        zip(
            GROUPS,
            (
                f"{last}, scored highest",
                f"{last}, scored lowest",
                f"{first}, scored lowest",
                f"{first}, scored highest",
            ),
            strict=True,
        )
    )
    return [{"title": titles[name], "items": items} for name, items in groups.items() if items]
