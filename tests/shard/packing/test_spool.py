"""The spool: what is stored comes back, whatever moment the process was killed at."""

import base64
import hashlib
import json

import pytest

from retfm_dist.errors import ShardError
from retfm_dist.image.field_of_view import FieldOfView
from retfm_dist.shard.packing.pack import Packed, PackedFacts, Rejection
from retfm_dist.shard.packing.spool import Spool
from retfm_dist.shard.plan import order_key

TERMS = {"size": 64}


def some_packed(number):
    facts = PackedFacts(
        height=1, width=2, source_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        source_height=3, source_width=4, perceptual_hash="00", miniature=base64.b64encode(bytes(256)).decode(),
        field_of_view=FieldOfView(1.5, 2.5, 3.25, "circle", (0, 1, 2, 3) if number % 2 else None),
    )  # fmt: skip
    return Packed(facts, bytes([number % 256]) * number, (number, number + 7))


@pytest.fixture
def filled(tmp_path):
    spool = Spool(tmp_path / "spool", seed=5, terms=TERMS)
    for number in range(100):
        spool.add(f"source {number}", some_packed(number))
    spool.close()
    return tmp_path / "spool"


OPENED = []


@pytest.fixture(autouse=True)
def _close_all():
    yield
    while OPENED:
        OPENED.pop().close()


def open_again(directory, **changes):
    OPENED.append(Spool(directory, **({"seed": 5, "terms": TERMS} | changes)))
    return OPENED[-1]


def test_what_was_stored_is_found_by_the_next_process(filled):
    spool = open_again(filled)
    assert len(spool) == 100
    for number in range(100):
        entry, packed = spool.find(f"source {number}"), some_packed(number)
        assert (entry.outcome, entry.stamp) == (packed.outcome, packed.stamp)
        assert entry.order == order_key(packed.outcome.source_sha256, seed=5)
        assert spool.read(entry) == packed.jpeg
    assert spool.find("another") is None


@pytest.mark.parametrize("changes", [{"seed": 6}, {"terms": {"size": 65}}])
def test_other_terms_begin_anew(filled, changes):
    assert len(open_again(filled, **changes)) == 0


def test_a_directory_of_an_earlier_release_begins_anew(tmp_path):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "00").write_bytes(b"old")
    assert len(open_again(tmp_path / "spool")) == 0
    assert not (tmp_path / "spool" / "00").exists()


@pytest.mark.parametrize("cut", [1, 5, 30, 200, 500])
def test_a_line_cut_off_by_a_kill_is_dropped_and_the_rest_kept(filled, cut):
    facts = filled / "facts"
    data = facts.read_bytes()
    facts.write_bytes(data[:-cut])
    spool = open_again(filled)
    assert 98 <= len(spool) <= 99
    for number in range(98, 100):
        spool.add(f"source {number}", some_packed(number))
    spool.close()
    again = open_again(filled)
    assert len(again) == 100
    assert all(again.read(again.find(f"source {n}")) == some_packed(n).jpeg for n in range(100))


def test_an_image_whose_bytes_did_not_reach_the_disk_is_packed_again(filled):
    largest = max(filled.glob("[0-9][0-9]"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    assert len(open_again(filled)) == 99


def test_damaged_bytes_are_noticed(filled):
    spool = open_again(filled)
    entry = spool.find("source 77")
    path = filled / f"{entry.bucket:02d}"
    data = bytearray(path.read_bytes())
    data[entry.offset] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ShardError, match="what an interrupted build left is damaged.*remove the directory"
    ):
        spool.read(entry)


def test_what_decoding_says_is_kept_and_what_reading_says_is_not(tmp_path):
    spool = open_again(tmp_path / "spool")
    for stage in ("decode", "field_of_view", "read", "lost"):
        spool.add(stage, Packed(Rejection(stage, "why"), stamp=(1, 2)))
    spool.close()
    again = open_again(tmp_path / "spool")
    assert {
        stage for stage in ("decode", "field_of_view", "read", "lost") if again.find(stage)
    } == {"decode", "field_of_view"}
    assert again.find("decode").outcome == Rejection("decode", "why")


def test_a_source_packed_again_replaces_itself(filled):
    spool = open_again(filled)
    spool.add("source 3", some_packed(55))
    spool.close()
    again = open_again(filled)
    assert again.read(again.find("source 3")) == some_packed(55).jpeg


def test_files_that_sort_before_are_dropped(filled):
    spool = open_again(filled)
    entries = sorted((spool.find(f"source {n}") for n in range(100)), key=lambda entry: entry.order)
    spool.drop_before(entries[60].order)
    left = sorted(int(path.name) for path in filled.glob("[0-9][0-9]"))
    assert left[0] == entries[60].bucket
    assert [spool.holds(entry) for entry in entries] == [
        entry.bucket >= left[0] for entry in entries
    ]
    spool.close()
    assert len(open_again(filled)) == 100


def test_the_files_name_no_source(filled):
    for line in (filled / "facts").read_bytes().splitlines():
        assert json.loads(line[9:])[0].startswith("source ")  # the caller's keyed hash
