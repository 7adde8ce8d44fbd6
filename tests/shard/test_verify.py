"""Verification: whatever was changed in a set is found."""

import contextlib
import shutil

import numpy as np
import pytest

from retfm_dist.durable import sha256_file
from retfm_dist.errors import ShardError
from retfm_dist.shard.index import read_sample_index, write_sample_index
from retfm_dist.shard.manifest import FileEntry, read_manifest, write_manifest
from retfm_dist.shard.set_index import write_set_index
from retfm_dist.shard.verify import verify_shards


@pytest.fixture
def own_set(shard_set, tmp_path):
    """A copy of the set that the test may damage."""
    return shutil.copytree(shard_set, tmp_path / "copy")


def reseal(shard_dir):
    """Write a manifest that is right about the files as they are now: only the walk can object."""
    manifest = read_manifest(shard_dir)
    files = [
        FileEntry(
            file.name, (shard_dir / file.name).stat().st_size, sha256_file(shard_dir / file.name)
        )
        for file in manifest.files
    ]
    write_manifest(shard_dir, shards=manifest.shards, files=files, build=manifest.build)
    with contextlib.suppress(ShardError):  # of an index that lacks a sample
        write_set_index(shard_dir)


def test_an_index_of_the_set_that_says_otherwise_is_found(own_set):
    (own_set / "set.index").write_bytes((own_set / "set.index").read_bytes() + b"more")
    with pytest.raises(ShardError, match=r"set.index says otherwise; `shard index` makes it anew"):
        verify_shards(own_set, full=False)
    (own_set / "set.index").unlink()
    verify_shards(own_set, full=False)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_untouched_set_is_in_order(shard_set, full, workers):
    summary = verify_shards(shard_set, full=full, workers=workers)
    assert (summary.num_samples, summary.full) == (12, full)
    total = sum(path.stat().st_size for path in shard_set.iterdir() if path.name != "manifest.json")
    assert summary.num_bytes == total
    assert summary.fingerprint == read_manifest(shard_set).fingerprint


def test_one_flipped_bit_anywhere_is_found(own_set):
    generator = np.random.default_rng(11)
    for path in sorted(own_set.iterdir()):
        data = path.read_bytes()
        bits = {0, len(data) * 8 - 1, *generator.integers(0, len(data) * 8, 6).tolist()}
        for bit in bits:
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            with pytest.raises(ShardError, match="damaged|manifest"):
                verify_shards(own_set, full=True)
        path.write_bytes(data)
    assert verify_shards(own_set, full=True).num_samples == 12


@pytest.mark.parametrize("full", [False, True])
def test_cut_and_grown_files_are_found(own_set, full):
    for path in sorted(own_set.iterdir()):
        data = path.read_bytes()
        for changed in (data[:-1], data + b"\0", b""):
            path.write_bytes(changed)
            with pytest.raises(ShardError, match="bytes, expected|manifest|set.index"):
                verify_shards(own_set, full=full)
        path.write_bytes(data)


def test_missing_and_added_files_are_found(own_set):
    (own_set / ".DS_Store").touch()
    verify_shards(own_set, full=False)
    (own_set / "notes.txt").touch()
    with pytest.raises(ShardError, match="notes.txt is not in the manifest"):
        verify_shards(own_set, full=False)
    (own_set / "000000.idx").unlink()
    with pytest.raises(ShardError, match=r"1 of \d+ absent, the first is 000000.idx"):
        verify_shards(own_set, full=False)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("offset", "is not where the index says"),
        ("size", "is not where the index says"),
        ("uid", "is not where the index says"),
        ("height", "is not a whole JPEG of 49 x 48 px"),
        ("width", "is not a whole JPEG of 48 x 49 px"),
    ],
)
def test_an_index_that_points_elsewhere_is_found_without_hashes(own_set, field, message):
    path = own_set / "000000.samples"
    records = read_sample_index(path).copy()
    records[field][1] += 1
    write_sample_index(path, records)
    reseal(own_set)
    with pytest.raises(ShardError, match=message):
        verify_shards(own_set, full=False)


def test_a_wrong_crc32_in_the_index_is_found(own_set):
    path = own_set / "000000.samples"
    records = read_sample_index(path).copy()
    records["crc32"][0] ^= 1
    write_sample_index(path, records)
    reseal(own_set)
    verify_shards(own_set, full=False)
    with pytest.raises(ShardError, match="has another crc32"):
        verify_shards(own_set, full=True)


def test_a_wrong_dali_index_is_found(own_set):
    path = own_set / "000000.idx"
    path.write_text(path.read_text().replace("jpg 512 ", "jpg 513 ", 1))
    reseal(own_set)
    with pytest.raises(ShardError, match="000000.idx does not describe 000000.tar"):
        verify_shards(own_set, full=False)


def test_an_index_that_lacks_a_sample_is_found(own_set):
    path = own_set / "000000.samples"
    write_sample_index(path, read_sample_index(path)[:-1].copy())
    reseal(own_set)
    with pytest.raises(ShardError, match="index records, expected"):
        verify_shards(own_set, full=False)


def test_shards_in_another_order_than_the_table_are_found(own_set):
    manifest = read_manifest(own_set)
    write_manifest(
        own_set, shards=manifest.shards[::-1], files=manifest.files, build=manifest.build
    )
    with pytest.raises(ShardError, match="samples.parquet lists other samples"):
        verify_shards(own_set, full=False)


def test_a_table_of_another_set_is_found(own_set):
    import pyarrow.parquet as pq

    path = own_set / "samples.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    reseal(own_set)
    with pytest.raises(ShardError, match="samples.parquet has 11 rows, expected 12"):
        verify_shards(own_set, full=False)
    path.write_bytes(b"no parquet")
    reseal(own_set)
    with pytest.raises(ShardError, match="samples.parquet cannot be read"):
        verify_shards(own_set, full=False)


def test_every_problem_is_counted(own_set):
    for path in own_set.glob("*.idx"):
        path.write_text("v1.2 0\n")
    for path in own_set.glob("*.samples"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ShardError, match=r"000000.idx has 7 bytes.*; and \d+ more; copy the set"):
        verify_shards(own_set, full=False)
