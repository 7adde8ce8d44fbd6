import resource
import zlib

import numpy as np
import pytest

from retfm_dist.data.reader import ShardReader, open_files_allowed
from retfm_dist.errors import DataError, ShardError
from retfm_dist.shard.index import read_sample_index, write_sample_index


@pytest.fixture
def reader(shard_dir):
    with_threads = ShardReader(shard_dir, num_threads=3)
    yield with_threads
    with_threads.close()


def flip_byte(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def rewrite_index(shard_dir, name, change):
    records = read_sample_index(shard_dir / name).copy()
    write_sample_index(shard_dir / name, change(records))


def test_positions_count_through_the_tars_in_order(reader, jpegs):
    assert reader.num_samples == len(jpegs)
    read = reader.read(reader.locate(np.arange(len(jpegs))))
    assert [array.tobytes() for array in read] == jpegs
    assert all(array.dtype == np.uint8 for array in read)


@pytest.mark.parametrize("num_threads", [1, 2, 7])
def test_samples_come_in_the_order_asked_for(shard_dir, jpegs, num_threads):
    reader = ShardReader(shard_dir, num_threads=num_threads)
    positions = np.random.default_rng(0).permutation(len(jpegs))[:13]
    read = reader.read(reader.locate(positions))
    assert [array.tobytes() for array in read] == [jpegs[i] for i in positions]
    assert reader.read(reader.locate(positions[:0])) == []
    reader.close()


def test_sources_name_the_tar_and_the_row(reader, shard_dir):
    sources = reader.describe(reader.locate(np.array([0, 9, 10, 36])))
    names = [
        "000000.tar, sample 0",
        "000000.tar, sample 9",
        "000001.tar, sample 0",
        "000002.tar, sample 11",
    ]
    assert sources == [f"{shard_dir}/{name}" for name in names]


def test_sets_with_more_tars_than_may_be_open_are_read(tmp_path, pack_shards, jpegs, open_files):
    shard_dir = pack_shards(tmp_path / "many", [[jpeg] for jpeg in jpegs])
    reader = ShardReader(shard_dir, num_threads=4, max_open_files=2)
    for seed in range(5):
        positions = np.random.default_rng(seed).permutation(len(jpegs))
        read = reader.read(reader.locate(positions))
        assert [array.tobytes() for array in read] == [jpegs[i] for i in positions]
    assert len(open_files()) <= 4
    reader.close()


def test_open_files_stay_well_below_the_limit_of_the_process(monkeypatch):
    for soft, expected in ((1024, 256), (2, 1), (10**9, 16_384), (resource.RLIM_INFINITY, 16_384)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert open_files_allowed() == expected


def test_files_are_closed_with_the_reader(shard_dir, open_files):
    before = open_files()
    reader = ShardReader(shard_dir)
    reader.read(reader.locate(np.arange(37)))
    assert len(open_files()) == len(before) + 6
    reader.close()
    assert open_files() == before


def test_empty_shards_are_passed_over(tmp_path, pack_shards, jpegs):
    reader = ShardReader(pack_shards(tmp_path / "gaps", [[], jpegs[:2], [], jpegs[2:4]]))
    read = reader.read(reader.locate(np.arange(4)))
    assert [array.tobytes() for array in read] == jpegs[:4]
    reader.close()


def test_a_flipped_bit_is_found_and_named(reader, shard_dir):
    record = read_sample_index(shard_dir / "000001.samples")[4]
    flip_byte(shard_dir / "000001.tar", int(record["offset"]) + int(record["size"]) // 2)
    expected = rf"000001.tar, sample 4: the sample is damaged; got crc32 [0-9a-f]{{8}}, expected {int(record['crc32']):08x}; run .* verify"
    with pytest.raises(DataError, match=expected):
        reader.read(reader.locate(np.arange(37)))


def test_a_truncated_tar_is_found_and_named(reader, shard_dir):
    record = read_sample_index(shard_dir / "000002.samples")[11]
    tar = shard_dir / "000002.tar"
    tar.write_bytes(tar.read_bytes()[: int(record["offset"]) + 100])
    with pytest.raises(
        DataError, match=r"000002.tar, sample 11: the shard is truncated; got 100 bytes"
    ):
        reader.read(reader.locate(np.array([36])))


def test_a_tar_that_vanishes_is_named(reader, shard_dir):
    located = reader.locate(np.array([0]))
    (shard_dir / "000000.tar").unlink()
    with pytest.raises(
        DataError, match=r"000000.tar, sample 0: cannot read the shard; got No such file"
    ):
        reader.read(located)


@pytest.mark.parametrize(
    "content", [b"\x89PNG not a photograph at all", b"\xff\xd8 cut short", b"\xff"]
)
def test_bytes_that_are_no_whole_jpeg_are_refused(
    tmp_path, pack_shards, jpegs, monkeypatch, content
):
    shard_dir = pack_shards(tmp_path / "odd", [jpegs[:2]])
    tar = bytearray((shard_dir / "000000.tar").read_bytes())

    def change(records):
        start = int(records[1]["offset"])
        tar[start : start + len(content)] = content
        records[1]["size"], records[1]["crc32"] = len(content), zlib.crc32(content)
        return records

    rewrite_index(shard_dir, "000000.samples", change)
    (shard_dir / "000000.tar").write_bytes(tar)
    reader = ShardReader(shard_dir)
    with pytest.raises(
        DataError, match=r"sample 1: the sample is not a whole JPEG; got .* expected ffd8...ffd9"
    ):
        reader.read(reader.locate(np.arange(2)))
    reader.close()


def test_an_index_of_another_length_than_the_manifest_says_is_refused(shard_dir):
    rewrite_index(shard_dir, "000001.samples", lambda records: records[:-1])
    reader = ShardReader(shard_dir)
    with pytest.raises(
        DataError, match=r"000001.samples: the index does not belong .* got 14 samples, expected 15"
    ):
        reader.locate(np.array([12]))
    reader.close()


def test_a_damaged_index_is_refused(shard_dir):
    flip_byte(shard_dir / "000001.samples", 50)
    reader = ShardReader(shard_dir)
    with pytest.raises(ShardError, match=r"000001.samples: the sample index is damaged"):
        reader.locate(np.array([12]))
    reader.close()


def test_a_directory_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(ShardError, match="not a complete shard set"):
        ShardReader(tmp_path)
