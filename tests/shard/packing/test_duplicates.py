"""Duplicates: found among many, confirmed by pixels, reported with what they contradict."""

import base64
import hashlib

import numpy as np
import pytest

from retfm_dist.cohort.records import ImageRecord
from retfm_dist.errors import ShardError
from retfm_dist.image.field_of_view import FieldOfView
from retfm_dist.shard.packing.duplicates import (
    MAX_DISTANCE,
    candidate_pairs,
    find_near,
    refuse_conflicts,
    render_duplicates,
    split_exact,
)
from retfm_dist.shard.packing.pack import PackedFacts
from retfm_dist.shard.packing.spool import SpoolEntry


def some_hashes(generator, count):
    """Hashes as fundus photographs have them: bits that agree near each other, constant corners."""
    fields = generator.normal(size=(count, 12)) @ generator.normal(size=(12, 256))
    fields += generator.normal(size=(count, 256)) * 2
    fields[:, :50] = -9
    return np.packbits(fields > 0, axis=1)


def flip(generator, value, count):
    bits = np.unpackbits(value)
    bits[generator.choice(256, count, replace=False)] ^= 1
    return np.packbits(bits)


@pytest.mark.parametrize(("distance", "share"), [(0, 1.0), (3, 1.0), (7, 1.0), (12, 0.85)])
def test_planted_pairs_are_found_among_many(distance, share):
    generator = np.random.default_rng(distance)
    hashes = some_hashes(generator, 20_000)
    for number in range(100):
        hashes[-1 - number] = flip(generator, hashes[number], distance)
    pairs = set(candidate_pairs(hashes))
    found = sum((number, 19_999 - number) in pairs for number in range(100))
    assert found >= 100 * share
    assert all(np.bitwise_count(hashes[i] ^ hashes[j]).sum() <= MAX_DISTANCE for i, j in pairs)


def test_many_alike_are_compared_with_the_first_of_them_only():
    hashes = np.repeat(some_hashes(np.random.default_rng(0), 1), 5000, axis=0)
    pairs = set(candidate_pairs(hashes))
    assert len(pairs) < 64 * 5000
    assert {(0, later) for later in range(1, 5000)} <= pairs


def packed(
    row, *, content, hash_=b"\0" * 32, miniature=bytes(256), patient="P1", eye="left", label="0"
):
    record = ImageRecord(
        row=row, image_path="", patient_id=patient, eye=eye, labels={"label_x": label}
    )
    facts = PackedFacts(
        height=1, width=1, source_sha256=hashlib.sha256(content).hexdigest(), source_height=1, source_width=1,
        field_of_view=FieldOfView(1, 1, 1, "circle"), perceptual_hash=hash_.hex(),
        miniature=base64.b64encode(miniature).decode(),
    )  # fmt: skip
    return record, SpoolEntry((1, 1), facts)


def test_the_first_row_of_a_content_is_kept():
    rows = [packed(1, content=b"a"), packed(2, content=b"b"), packed(3, content=b"a", patient="P2")]
    kept, duplicates = split_exact(rows)
    assert [record.row for record, _ in kept] == [1, 2]
    (duplicate,) = duplicates
    assert (duplicate.first.row, duplicate.second.row, duplicate.kind) == (1, 3, "exact")
    assert duplicate.is_conflict
    assert not duplicate.same_patient


def test_alike_hashes_with_other_pixels_are_no_duplicates():
    rows = [
        packed(1, content=b"a"),
        packed(2, content=b"b", miniature=bytes([3]) * 256),
        packed(3, content=b"c", miniature=bytes([1]) * 256),
    ]
    assert [(d.first.row, d.second.row, d.difference) for d in find_near(rows)] == [(1, 3, 1.0)]
    assert find_near(rows[:1]) == []


@pytest.mark.parametrize(
    ("changes", "conflict"),
    [({}, False), ({"patient": "P2"}, True), ({"eye": "right"}, True), ({"label": "1"}, True)],
)
def test_conflicts_are_refused_where_asked(changes, conflict):
    _, duplicates = split_exact([packed(4, content=b"a"), packed(9, content=b"a", **changes)])
    assert duplicates[0].is_conflict is conflict
    if conflict:
        with pytest.raises(ShardError, match="got 1 pairs, first rows 4 and 9"):
            refuse_conflicts(duplicates)
    else:
        refuse_conflicts(duplicates)


def test_the_list_names_rows_and_nothing_else():
    _, duplicates = split_exact([packed(4, content=b"a"), packed(9, content=b"a", patient="NHS-1")])
    text = render_duplicates(duplicates)
    assert text == "row,first_row,kind,same_patient,same_labels,difference\n9,4,exact,0,1,0.00\n"
