"""The images, labels and patients of a task, with every exclusion counted.

Rows leave in this order, each counted once: another value in the filter column; no label; a label
that is neither positive nor negative; image file missing; image unreadable; exact copy of another
image. Copies that contradict each other in label or patient all leave.
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
        labels: [N] 1 = positive, 0 = negative.
        exclusions: What left so far, in order.
    """

    task: TaskConfig
    num_rows: int
    records: tuple[ImageRecord, ...]
    labels: NDArray
    exclusions: tuple[Exclusion, ...]

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
            exclusions=(*self.exclusions, exclusion),
        )


def check_classes(samples: TaskSamples) -> None:
    """Refuse a task whose images are all of one class, or that has none.

    Raises:
        EvaluateError: See above.
    """
    num_positive = int(samples.labels.sum())
    num_negative = len(samples.labels) - num_positive
    if not (num_positive and num_negative):
        label = samples.task.label
        raise EvaluateError(
            "both classes are needed",
            where=f"task {samples.task.id}",
            got=f"{num_positive} positive and {num_negative} negative images",
            hint=f"compare the values of column {label.column} with label.positive "
            f"{list(label.positive)} and label.negative {list(label.negative)}",
        )


def drop_copies(samples: TaskSamples, digests: Mapping[int, str]) -> TaskSamples:
    """Keep the first of identical files; keep none where copies differ in label or patient.

    A copy in another fold would let a protocol see its test images.
    """
    facts: dict[str, set[tuple[str, int]]] = {}
    first: dict[str, int] = {}
    for record, label in zip(samples.records, samples.labels, strict=True):
        digest = digests[record.row]
        facts.setdefault(digest, set()).add((record.patient_id, int(label)))
        first.setdefault(digest, record.row)
    kept = [
        first[digests[record.row]] == record.row and len(facts[digests[record.row]]) == 1
        for record in samples.records
    ]
    return samples.keep(np.array(kept, bool), reason="exact copy of another image")
