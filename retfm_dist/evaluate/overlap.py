"""Overlap of the images of a task with what a model was pre-trained on.

An encoder that has seen a test image, a copy of it or the same patient's other eye may know more
about it than it would of a new patient's. So every image is looked up in the membership that an
export carries, and results are given with and without what was found.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retfm_dist.cohort.membership import Membership
from retfm_dist.cohort.pseudonym import assign_pseudonyms, make_salt_id
from retfm_dist.evaluate.encode.looks import looks_of
from retfm_dist.evaluate.encode.models import Model
from retfm_dist.evaluate.predictions import uid_of
from retfm_dist.evaluate.prepare import PreparedTask

OVERLAP = "in_pretraining"
"""Column of a prediction file: "image", "copy", "patient" or nothing."""


@dataclass(frozen=True)
class Overlap:
    """What of a task's images a model was pre-trained on.

    Attributes:
        found: [N] "image", "copy", "patient" or None: the same file, one that looks the same, or
            another image of the same patient.
        facts: JSON values for the report.
    """

    found: NDArray
    facts: dict[str, Any]


def find_overlap(prepared: PreparedTask, model: Model, *, salt: bytes | None) -> Overlap:
    """Look every image of a task up in what a model was trained on.

    Args:
        prepared: The task.
        model: The model.
        salt: Secret key of the pseudonyms; None compares no patients.
    """
    records = prepared.samples.records
    digests = [prepared.encoded.digests[record.row] for record in records]
    found = np.full(len(records), None, object)
    facts: dict[str, Any] = {"model": model.id, "task": prepared.samples.task.id}
    if model.kind != "export":
        return Overlap(found, {**facts, "provenance": "none: not pre-trained"})
    if model.membership is None:
        return Overlap(found, {**facts, "provenance": "unknown"})
    patients = _known_patients(model.membership, salt)
    if patients == "compared":
        assert salt is not None
        pseudonyms = assign_pseudonyms({record.patient_id for record in records}, salt)
        names = [pseudonyms[record.patient_id] for record in records]
        found[model.membership.has_patients(names)] = "patient"
    found[model.membership.has_copies(looks_of(prepared.encoded, digests))] = "copy"
    found[model.membership.has_images([uid_of(digest) for digest in digests])] = "image"
    counts = {kind: int((found == kind).sum()) for kind in ("image", "copy", "patient")}
    return Overlap(found, {**facts, "provenance": "known", "patients": patients, **counts})


def _known_patients(membership: Membership, salt: bytes | None) -> str:
    """Return "compared", or why patients cannot be."""
    if salt is None:
        return "not compared: the evaluation has no salt"
    if membership.salt_id != make_salt_id(salt):
        return (
            f"not compared: the model's patients have the salt {membership.salt_id or 'unknown'}, "
            f"this evaluation's is {make_salt_id(salt)}"
        )
    return "compared"
