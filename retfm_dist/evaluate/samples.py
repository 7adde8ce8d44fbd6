"""The images, labels and patients of a task, with every exclusion counted.

Rows leave in this order, each counted once: another value in the filter column; no label; a label
of no class; a split that is not asked for; image file missing; image unreadable; exact copy of
another image. Copies that contradict each other in label or patient all leave.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retfm_dist.cohort.records import ImageRecord
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import TaskConfig
from retfm_dist.statistics.clusters import code_patients


@dataclass(frozen=True)
class Exclusion:
    """Rows that left on the way from table to analysis.

    Attributes:
        reason: Why rows left.
        num_images: How many left.
    """

    reason: str
    num_images: int


@dataclass(frozen=True)
class TaskSamples:
    """The images of a task.

    Attributes:
        task: Its config.
        num_rows: Rows of its table.
        records: [N] rows in the order of the table.
        labels: [N] class, 0-based, in the order of `task.label.values`.
        exclusions: What left so far, in order.
        splits: [N] "train", "val" or "test"; None where the task is cross-validated.
        patients_are_known: False where each image counts as a patient for want of knowledge.
    """

    task: TaskConfig
    num_rows: int
    records: tuple[ImageRecord, ...]
    labels: NDArray
    exclusions: tuple[Exclusion, ...]
    splits: NDArray | None = None
    patients_are_known: bool = True

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, class 0 first."""
        return tuple(self.task.label.values)

    def predicted(self) -> NDArray:
        """Return the indexes of the images that get predictions: all, or all but the train set."""
        if self.splits is None:
            return np.arange(len(self.records))
        return np.flatnonzero(self.splits != "train")

    def patients(self) -> NDArray:
        """Return [N] codes of the patients, 0 .. P-1 in order of first appearance."""
        return code_patients(np.array([record.patient_id for record in self.records]))

    def keep(self, kept: NDArray, *, reason: str) -> "TaskSamples":
        """Return the samples where `kept` [N] is true, and count the others under `reason`."""
        exclusion = Exclusion(reason, int((~kept).sum()))
        return replace(
            self,
            records=tuple(record for record, keep in zip(self.records, kept, strict=True) if keep),
            labels=self.labels[kept],
            splits=None if self.splits is None else self.splits[kept],
            exclusions=(*self.exclusions, exclusion),
        )


def check_classes(samples: TaskSamples) -> None:
    """Refuse a task that lacks images of a class, in all or in one of its sets.

    A test or validation set may lack a class of three or more, but not be of one class alone.

    Raises:
        EvaluateError: See above.
    """
    num_classes, everything = len(samples.classes), np.ones(len(samples.labels), bool)
    if samples.splits is None:
        parts = {"": (everything, num_classes)}
    else:
        wanted = {"train": num_classes, "val": 2, "test": 2}
        parts = {f", {name} set": (samples.splits == name, n) for name, n in wanted.items()}
        if not (samples.splits == "val").any():
            del parts[", val set"]  # then C is chosen on folds of the train set
    for part, (inside, wanted_classes) in parts.items():
        counts = np.bincount(samples.labels[inside].astype(np.int64), minlength=num_classes)
        if (counts > 0).sum() < wanted_classes:
            listed = ", ".join(
                f"{count} {name}" for name, count in zip(samples.classes, counts, strict=True)
            )
            label = samples.task.label
            raise EvaluateError(
                "images of every class are needed"
                if wanted_classes == num_classes
                else "images of two classes are needed",
                where=f"task {samples.task.id}{part}",
                got=f"{listed} images",
                hint=f"compare the values of column {label.column} with "
                + ", ".join(f"{name} {list(values)}" for name, values in label.values.items()),
            )


def check_splits(samples: TaskSamples) -> None:
    """Refuse a patient in two sets: a model would be judged on a patient that it was fitted on.

    Raises:
        EvaluateError: See above.
    """
    if samples.splits is None:
        return
    first: dict[str, int] = {}
    for index, record in enumerate(samples.records):
        other = first.setdefault(record.patient_id, index)
        if samples.splits[other] != samples.splits[index]:
            assert samples.task.split is not None
            raise EvaluateError(
                "a patient in two sets",
                where=f"task {samples.task.id}, column {samples.task.split.column}",
                got=f"row {samples.records[other].row} in {samples.splits[other]}, "
                f"row {record.row} in {samples.splits[index]}",
                expected="every patient in one set",
            )


def drop_copies(samples: TaskSamples, digests: Mapping[int, str]) -> TaskSamples:
    """Keep the first of identical files; keep none where copies differ in label or patient.

    A copy in another fold would let a protocol see its test images.
    """
    facts: dict[str, set[tuple[str, int]]] = {}
    for record, label in zip(samples.records, samples.labels, strict=True):
        facts.setdefault(digests[record.row], set()).add((record.patient_id, int(label)))
    agreed = [len(facts[digests[record.row]]) == 1 for record in samples.records]
    samples = samples.keep(
        np.array(agreed, bool), reason="exact copies under different patients or labels"
    )
    first: dict[str, int] = {}
    kept = [
        first.setdefault(digests[record.row], record.row) == record.row
        for record in samples.records
    ]
    return samples.keep(np.array(kept, bool), reason="exact copy of another image")
