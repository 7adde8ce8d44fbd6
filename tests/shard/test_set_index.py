import json
import shutil

import numpy as np
import pytest

from retfm_dist.errors import ShardError
from retfm_dist.shard.index import read_sample_index
from retfm_dist.shard.manifest import read_manifest
from retfm_dist.shard.set_index import (
    SET_INDEX_NAME,
    is_sound_set_index,
    open_set_index,
    read_set_index,
    write_set_index,
)


@pytest.fixture
def own_set(shard_set, tmp_path):
    return shutil.copytree(shard_set, tmp_path / "own")


def test_a_built_set_has_one_that_says_what_manifest_and_indexes_say(shard_set):
    manifest = read_manifest(shard_set)
    index = read_set_index(shard_set / SET_INDEX_NAME, manifest_path=shard_set / "manifest.json")
    assert list(index.names) == [shard.name for shard in manifest.shards]
    assert index.num_bytes.tolist() == [shard.num_bytes for shard in manifest.shards]
    assert index.fingerprint == manifest.fingerprint
    assert index.num_samples == manifest.num_samples == 12
    expected = np.concatenate(
        [read_sample_index(shard_set / s.index_name) for s in manifest.shards]
    )
    positions = np.random.default_rng(0).permutation(12)
    records, is_sound = index.records(positions)
    assert is_sound.all()
    for name in ("offset", "size", "crc32", "height", "width", "uid"):
        assert np.array_equal(records[name], expected[name][positions])
    counts = [shard.num_samples for shard in manifest.shards]
    assert np.array_equal(index.shards_of(np.arange(12)), np.repeat(np.arange(len(counts)), counts))


def test_without_one_it_is_put_together(own_set):
    written = open_set_index(own_set)
    (own_set / SET_INDEX_NAME).unlink()
    together = open_set_index(own_set)
    positions = np.arange(12)
    assert np.array_equal(together.records(positions)[0], written.records(positions)[0])
    assert together.records(positions)[1].all()
    assert list(together.names) == list(written.names)
    assert is_sound_set_index(own_set)


def test_it_is_written_the_same_every_time(own_set):
    before = (own_set / SET_INDEX_NAME).read_bytes()
    write_set_index(own_set)
    assert (own_set / SET_INDEX_NAME).read_bytes() == before


def test_no_flipped_bit_goes_unnoticed(own_set):
    path = own_set / SET_INDEX_NAME
    sound = path.read_bytes()
    manifest_path = own_set / "manifest.json"
    for bit in range(0, 8 * len(sound), 5):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert not is_sound_set_index(own_set)
        try:
            index = read_set_index(path, manifest_path=manifest_path)
        except ShardError:
            continue
        assert (~index.records(np.arange(12))[1]).sum() == 1, bit
    path.write_bytes(sound)
    assert is_sound_set_index(own_set)


def test_a_record_of_another_place_is_noticed(own_set):
    path = own_set / SET_INDEX_NAME
    content = path.read_bytes()
    path.write_bytes(content[:-64] + content[-32:] + content[-64:-32])
    index = open_set_index(own_set)
    assert np.flatnonzero(~index.records(np.arange(12))[1]).tolist() == [10, 11]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "not an index of a shard set"),
        (lambda content: content[:100], "not an index of a shard set"),
        (lambda content: b"x" + content[1:], "not an index of a shard set"),
        (lambda content: content[:8] + b"\x02" + content[9:], "another layout; got version 2"),
        (lambda content: content[:-1], "the wrong length"),
        (
            lambda content: content[:130] + b"\xff" + content[131:],
            "the index of the set is damaged",
        ),
    ],
)
def test_what_is_no_index_is_refused(own_set, change, message):
    path = own_set / SET_INDEX_NAME
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ShardError, match=message):
        open_set_index(own_set)


def test_an_index_of_another_manifest_is_refused(own_set):
    path = own_set / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    with pytest.raises(ShardError, match=r"belongs to another manifest; `python -m .* index`"):
        open_set_index(own_set)
    path.unlink()
    with pytest.raises(ShardError, match="not a complete shard set: it has no manifest"):
        open_set_index(own_set)
