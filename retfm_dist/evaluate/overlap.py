"""Overlap of the images of a task with what a model was pre-trained on.

An encoder that has seen a test image, a copy of it or the same patient's other eye may know more
about it than it would of a new patient's. So every image is looked up in the membership that an
export carries, and results are given with and without what was found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from retfm_dist.cohort.membership import Membership
from retfm_dist.cohort.pseudonym import assign_pseudonyms, make_salt_id
from retfm_dist.evaluate.encode.models import Model
from retfm_dist.evaluate.predictions import uid_of
from retfm_dist.evaluate.prepare import PreparedTask
from retfm_dist.image.encode import difference_hash

LOOKS_ID = "perceptual_hash"
"""Id under which the perceptual hashes are computed and cached, beside the models' features."""
OVERLAP = "in_pretraining"
"""Column of a prediction file: "image", "copy", "patient" or nothing."""
_SIDE_PX = 512


@dataclass(frozen=True)
class LooksExtractor:
    """The perceptual hash as a feature extractor: read, cropped and cached like any model's."""

    img_size: int = _SIDE_PX

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return torch.device("cpu")

    def extract(self, images: Tensor) -> Tensor:
        """Return float32 [B, 256] the bits of the hash of uint8 [B, 3, S, S] images."""
        rows = []
        for image in images:
            picture = Image.fromarray(np.ascontiguousarray(image.numpy().transpose(1, 2, 0)))
            digest = np.frombuffer(bytes.fromhex(difference_hash(picture)), np.uint8)
            rows.append(np.unpackbits(digest))
        return torch.from_numpy(np.stack(rows).astype(np.float32))


def looks_model() -> Model:
    """Return the perceptual hash as a model."""
    return Model(LOOKS_ID, "perceptual_hash", "difference hash 1, 512 px", {}, LooksExtractor())


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
        prepared: The task; encoded by `looks_model` too where the model has a membership.
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
    found[model.membership.has_copies(_looks(prepared, digests))] = "copy"
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


def _looks(prepared: PreparedTask, digests: Sequence[str]) -> list[str]:
    bits = prepared.encoded.matrix(LOOKS_ID, digests).astype(np.uint8)
    return [np.packbits(row).tobytes().hex() for row in bits]
