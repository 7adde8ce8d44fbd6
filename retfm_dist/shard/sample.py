"""Metadata of one sample, rendered as JSON sidecar and as table row."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa

from retfm_dist.cohort.columns import PACKED_COLUMNS
from retfm_dist.cohort.records import ImageRecord
from retfm_dist.shard.packing.pack import PackedFacts

MAX_AGE_YEARS = 90
"""Ages above are written as 90: few people are that old, so an exact age could name them.

Source: HIPAA Safe Harbor, 45 CFR 164.514(b)(2)(i)(C)."""

_PACKED_TYPES = {"text": pa.string(), "number": pa.float64()}
_COLUMNS = (
    ("uid", pa.uint64()),
    ("key", pa.string()),
    ("shard", pa.string()),
    ("subject_id", pa.string()),
    *((column.name, _PACKED_TYPES[str(column.packed_as)]) for column in PACKED_COLUMNS),
    ("kind", pa.string()),
    ("source_sha256", pa.string()),
    ("perceptual_hash", pa.string()),
    ("height", pa.int32()),
    ("width", pa.int32()),
)
_NOT_IN_SIDECAR = ("source_sha256", "perceptual_hash")
RESERVED_COLUMNS = frozenset(name for name, _ in _COLUMNS)


@dataclass(frozen=True)
class Sample:
    """One image of a shard set, without its pixels and without anything that names a person.

    Attributes:
        uid: First 64 bits of the source file's sha256; the same however the set is packed.
        key: Name in the tar: pseudonym, "-", uid as 16 hex digits.
        subject_id: Pseudonym of the patient.
        eye: "left", "right" or None.
        age: Years, at most 90, or None.
        sex: As in `ImageRecord`.
        ethnicity: As in `ImageRecord`.
        device: As in `ImageRecord`.
        site: As in `ImageRecord`.
        labels: Text by column name.
        height: Height of the JPEG, px.
        width: Width of the JPEG, px.
        source_height: Height of the photograph, px.
        source_width: Width of the photograph, px.
        field_of_view: center_y, center_x, radius (px of the photograph) and kind.
        source_sha256: Hex digest of the source file.
        perceptual_hash: `difference_hash` of the JPEG's image.
    """

    uid: int
    key: str
    subject_id: str
    eye: str | None
    age: float | None
    sex: str | None
    ethnicity: str | None
    device: str | None
    site: str | None
    labels: Mapping[str, str | None]
    height: int
    width: int
    source_height: int
    source_width: int
    field_of_view: Mapping[str, Any]
    source_sha256: str
    perceptual_hash: str

    def sidecar(self) -> bytes:
        """Render KEY.json: everything but the hashes, uid in hex (JSON numbers end at 2^53)."""
        facts = asdict(self) | {"uid": f"{self.uid:016x}"}
        for name in _NOT_IN_SIDECAR:
            del facts[name]
        return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode("ascii")

    def table_row(self, shard: str) -> dict[str, Any]:
        """Return the row of samples.parquet; labels are columns of their own."""
        values = asdict(self) | {"shard": shard, "kind": self.field_of_view["kind"]}
        return {name: values[name] for name, _ in _COLUMNS} | dict(self.labels)


SIDECAR_FIELDS = frozenset(field.name for field in fields(Sample)) - frozenset(_NOT_IN_SIDECAR)
"""Fields of KEY.json."""


def make_sample(record: ImageRecord, packed: PackedFacts, *, subject_id: str) -> Sample:
    """Combine a table row, without identifiers, with the result of packing its image."""
    known = {column.name: getattr(record, column.name) for column in PACKED_COLUMNS}
    if record.age is not None:
        known["age"] = min(record.age, float(MAX_AGE_YEARS))
    return Sample(
        **known,
        uid=int(packed.source_sha256[:16], 16),
        key=f"{subject_id}-{packed.source_sha256[:16]}",
        subject_id=subject_id,
        labels=dict(record.labels),
        height=packed.height,
        width=packed.width,
        source_height=packed.source_height,
        source_width=packed.source_width,
        field_of_view={
            "center_y": round(packed.field_of_view.center_y, 1),
            "center_x": round(packed.field_of_view.center_x, 1),
            "radius": round(packed.field_of_view.radius, 1),
            "kind": packed.field_of_view.kind,
        },
        source_sha256=packed.source_sha256,
        perceptual_hash=packed.perceptual_hash,
    )


def table_schema(labels: Mapping[str, str | None]) -> pa.Schema:
    """Return the schema of samples.parquet for a set with these label columns."""
    return pa.schema([*_COLUMNS, *((name, pa.string()) for name in labels)])
