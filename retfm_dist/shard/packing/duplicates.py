"""Photographs that are packed twice: the same file, or the same picture saved again.

Exact duplicates have the same bytes. Near duplicates show the same picture: few bits of their
perceptual hashes differ, and so do their pixels. Candidates share one of several parts of the
hash, so that a million images are not compared with each other.
"""

import base64
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from retfm_dist.cohort.records import ImageRecord
from retfm_dist.errors import ShardError
from retfm_dist.shard.packing.pack import PackedFacts
from retfm_dist.shard.packing.spool import SpoolEntry

Packed = tuple[ImageRecord, SpoolEntry]

# Measured on 115 photographs: saved again at qualities 30 to 92 and at half or a quarter of the
# size they differ from themselves in 5 bits (9 of 10 cases) to 12, and their miniatures by 0.6
# levels (19 of 20 cases); different eyes differ in 6 bits and 2.6 levels or more.
MAX_DISTANCE = 16
"""Largest number of different bits of two near duplicates' hashes, of 256."""
MAX_DIFFERENCE = 2.0
"""Largest mean absolute difference of two near duplicates' miniatures, in levels of 255."""

_NUM_PARTS = 8
_NUM_DEALS = 2
_MIN_VARIANCE = 0.1
_MIN_VARYING_BITS = 64
_MAX_GROUP = 64


@dataclass(frozen=True)
class Duplicate:
    """Two rows of the table that show the same picture.

    Attributes:
        first: The earlier row.
        second: The later one.
        kind: "exact" for the same bytes, "near" for the same picture.
        difference: Mean absolute difference of the miniatures, in levels of 255.
    """

    first: ImageRecord
    second: ImageRecord
    kind: str
    difference: float = 0.0

    @property
    def is_conflict(self) -> bool:
        """Whether the rows are of different patients, eyes or labels."""
        return not (self.same_patient and self.same_labels and self.first.eye == self.second.eye)

    @property
    def same_patient(self) -> bool:
        """Whether the rows are of one patient."""
        return self.first.patient_id == self.second.patient_id

    @property
    def same_labels(self) -> bool:
        """Whether all labels agree."""
        return dict(self.first.labels) == dict(self.second.labels)


def split_exact(packed: Sequence[Packed]) -> tuple[list[Packed], list[Duplicate]]:
    """Keep the first row of each content; return the others as duplicates of it."""
    first_records: dict[str, ImageRecord] = {}
    kept, duplicates = [], []
    for record, entry in packed:
        assert isinstance(entry.outcome, PackedFacts)
        first = first_records.setdefault(entry.outcome.source_sha256, record)
        if first is record:
            kept.append((record, entry))
        else:
            duplicates.append(Duplicate(first, record, "exact"))
    return kept, duplicates


def find_near(packed: Sequence[Packed]) -> list[Duplicate]:
    """Return the near duplicates of earlier rows, each with the earliest that it resembles.

    Args:
        packed: Rows and their images, without exact duplicates.
    """
    if len(packed) < 2:
        return []
    facts = [entry.outcome for _, entry in packed]
    hashes = _unpack([bytes.fromhex(fact.perceptual_hash) for fact in facts])  # pyright: ignore
    miniatures = _unpack([base64.b64decode(fact.miniature) for fact in facts])  # pyright: ignore
    found: dict[int, Duplicate] = {}
    for first, second in candidate_pairs(hashes):
        if second in found:
            continue
        both = miniatures[[first, second]].astype(np.int16)
        difference = float(np.abs(both[0] - both[1]).mean())
        if difference <= MAX_DIFFERENCE:
            found[second] = Duplicate(packed[first][0], packed[second][0], "near", difference)
    return [found[index] for index in sorted(found)]


def _unpack(rows: Sequence[bytes]) -> np.ndarray:
    """Return [N, B] uint8 for N values of B bytes."""
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)


def candidate_pairs(hashes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield pairs (i, j), i < j, of hashes that differ in few bits; ascending in j, then i.

    The bits that vary between images are dealt to 8 parts, twice. Two hashes that differ in up to
    7 bits agree in a part for certain, in 12 bits with a probability of 0.97. In a group of many
    that agree in one part, each is compared with the first 64 only, so the cost stays linear.

    Args:
        hashes: [N, 32] uint8.
    """
    bits = np.unpackbits(hashes, axis=1)
    share = bits.mean(axis=0)
    # Bits of the black surround are the same everywhere and would put all images in one group.
    varying = np.flatnonzero(share * (1 - share) >= _MIN_VARIANCE)
    if len(varying) < _MIN_VARYING_BITS:
        varying = np.arange(bits.shape[1])
    generator = np.random.default_rng(0)
    pairs: set[tuple[int, int]] = set()
    for _ in range(_NUM_DEALS):
        for part in np.array_split(generator.permutation(varying), _NUM_PARTS):
            for group in _groups(np.packbits(bits[:, part], axis=1)):
                pairs.update(_close_pairs(group, hashes))
    yield from sorted(pairs, key=lambda pair: (pair[1], pair[0]))


def _groups(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the indexes of rows that are equal, ascending."""
    texts = np.ascontiguousarray(keys).view(f"V{keys.shape[1]}").ravel()
    order = np.argsort(texts, kind="stable")
    starts = np.flatnonzero(np.r_[True, texts[order][1:] != texts[order][:-1], True])
    for place in np.flatnonzero(np.diff(starts) > 1):
        yield order[starts[place] : starts[place + 1]]


def _close_pairs(group: np.ndarray, hashes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the pairs of a group whose hashes differ in few bits."""
    for place in range(min(len(group) - 1, _MAX_GROUP)):
        later = group[place + 1 :]
        distances = np.bitwise_count(hashes[group[place]] ^ hashes[later]).sum(axis=1)
        for second in later[distances <= MAX_DISTANCE]:
            yield int(group[place]), int(second)


def refuse_conflicts(duplicates: Sequence[Duplicate]) -> None:
    """Raise if duplicates are of different patients or labels.

    Raises:
        ShardError: See above; names the first rows.
    """
    conflicts = [duplicate for duplicate in duplicates if duplicate.is_conflict]
    if conflicts:
        rows = ", ".join(f"{d.first.row} and {d.second.row}" for d in conflicts[:5])
        raise ShardError(
            "the same picture stands for different patients, eyes or labels",
            got=f"{len(conflicts)} pairs, first rows {rows}",
            hint="mend the table, or build with --duplicates exact or near",
        )


def render_duplicates(duplicates: Sequence[Duplicate]) -> str:
    """Return the text of duplicates.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "first_row", "kind", "same_patient", "same_labels", "difference"])
    for duplicate in duplicates:
        writer.writerow([
            duplicate.second.row, duplicate.first.row, duplicate.kind,
            int(duplicate.same_patient), int(duplicate.same_labels), f"{duplicate.difference:.2f}",
        ])  # fmt: skip
    return text.getvalue()
