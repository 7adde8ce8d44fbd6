import os
import threading
import zlib

import numpy as np
import pytest

from retfm_dist.data.faults import Fault
from retfm_dist.data.reader import ShardReader
from retfm_dist.data.shard_set import open_shard_set
from retfm_dist.errors import DataError, ShardError
from retfm_dist.shard.index import read_sample_index, write_sample_index
from retfm_dist.shard.set_index import write_set_index


def open_reader(*shard_dirs, max_open_files=None, **options):
    sets = [open_shard_set(path, max_open_files=max_open_files) for path in shard_dirs]
    return ShardReader(sets, **options)


@pytest.fixture
def reader(shard_dir):
    with_threads = open_reader(shard_dir, num_threads=3)
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
    reader = open_reader(shard_dir, num_threads=num_threads)
    positions = np.random.default_rng(0).permutation(len(jpegs))[:13]
    read = reader.read(reader.locate(positions))
    assert [array.tobytes() for array in read] == [jpegs[i] for i in positions]
    assert reader.read(reader.locate(positions[:0])) == []
    reader.close()


def test_a_sample_s_place_is_its_tar_and_row(reader, shard_dir):
    locations = reader.locate(np.array([0, 9, 10, 36]))
    assert [reader.place(locations, i) for i in range(4)] == [
        f"{shard_dir}/00000{shard}.tar" for shard in (0, 0, 1, 2)
    ]
    assert locations.rows.tolist() == [0, 9, 0, 11]
    assert reader.span_of(12, whole_set=False) == (10, 15)
    assert reader.span_of(12, whole_set=True) == (0, 37)


def test_positions_count_through_several_sets(tmp_path, shard_dir, pack_shards, jpegs):
    other = pack_shards(tmp_path / "other", [jpegs[5:7], jpegs[20:23]])
    reader = open_reader(shard_dir, other)
    assert reader.num_samples == 42
    positions = np.array([41, 0, 37, 36, 39])
    locations = reader.locate(positions)
    read = reader.read(locations)
    assert [array.tobytes() for array in read] == [jpegs[i] for i in (22, 0, 5, 36, 20)]
    assert reader.place(locations, 0) == f"{other}/000001.tar"
    assert reader.span_of(40, whole_set=False) == (39, 3)
    assert reader.span_of(40, whole_set=True) == (37, 5)
    reader.close()


def test_sets_with_more_tars_than_may_be_open_are_read(tmp_path, pack_shards, jpegs, open_files):
    shard_dir = pack_shards(tmp_path / "many", [[jpeg] for jpeg in jpegs])
    reader = open_reader(shard_dir, num_threads=4, max_open_files=2)
    for seed in range(5):
        positions = np.random.default_rng(seed).permutation(len(jpegs))
        read = reader.read(reader.locate(positions))
        assert [array.tobytes() for array in read] == [jpegs[i] for i in positions]
    assert len(open_files()) <= 4
    reader.close()


def test_files_are_closed_with_the_reader(shard_dir, open_files):
    before = open_files()
    reader = open_reader(shard_dir)
    reader.read(reader.locate(np.arange(37)))
    assert len(open_files()) == len(before) + 3
    reader.close()
    assert open_files() == before


def test_empty_shards_are_passed_over(tmp_path, pack_shards, jpegs):
    reader = open_reader(pack_shards(tmp_path / "gaps", [[], jpegs[:2], [], jpegs[2:4]]))
    read = reader.read(reader.locate(np.arange(4)))
    assert [array.tobytes() for array in read] == jpegs[:4]
    reader.close()


def test_a_flipped_bit_is_a_fault_of_its_sample_alone(reader, shard_dir, jpegs):
    record = read_sample_index(shard_dir / "000001.samples")[4]
    flip_byte(shard_dir / "000001.tar", int(record["offset"]) + int(record["size"]) // 2)
    read = reader.read(reader.locate(np.arange(37)))
    assert isinstance(read[14], Fault)
    assert read[14].reason.startswith("damaged: crc32 ")
    assert read[14].reason.endswith(f"expected {int(record['crc32']):08x}")
    assert [array.tobytes() for i, array in enumerate(read) if i != 14] == jpegs[:14] + jpegs[15:]


def test_a_truncated_tar_is_a_fault_of_what_is_gone(reader, shard_dir):
    record = read_sample_index(shard_dir / "000002.samples")[11]
    tar = shard_dir / "000002.tar"
    tar.write_bytes(tar.read_bytes()[: int(record["offset"]) + 100])
    read = reader.read(reader.locate(np.arange(37)))
    assert [i for i, found in enumerate(read) if isinstance(found, Fault)] == [36]
    assert read[36].reason == f"the tar is cut short: 100 of {int(record['size'])} bytes"


def test_a_tar_that_vanishes_is_a_fault_of_its_samples(reader, shard_dir):
    located = reader.locate(np.array([0, 12]))
    (shard_dir / "000000.tar").unlink()
    read = reader.read(located)
    assert read[0] == Fault("cannot be read: No such file or directory")
    assert not isinstance(read[1], Fault)


@pytest.mark.parametrize(
    ("make", "reason"),
    [(os.mkfifo, "not a regular file"), (os.mkdir, "Is a directory|not a regular file")],
)
def test_a_pipe_or_directory_in_place_of_a_tar_hangs_nobody(reader, shard_dir, make, reason):
    (shard_dir / "000000.tar").unlink()
    make(shard_dir / "000000.tar")
    (found,) = reader.read(reader.locate(np.array([0])))
    assert isinstance(found, Fault)
    assert any(part in found.reason for part in reason.split("|"))


class Slow:
    """Files of which some tars never answer."""

    def __init__(self, files, dead):
        self._files, self._dead = files, dead
        self.released = threading.Event()
        self.num_stuck = 0

    def read(self, shard, size, offset):
        if shard in self._dead:
            self.num_stuck += 1
            self.released.wait(30)
        return self._files.read(shard, size, offset)

    def place(self, shard):
        return self._files.place(shard)

    def close(self):
        self._files.close()


@pytest.fixture
def slow_reader(tmp_path, pack_shards, jpegs):
    made = []

    def make(dead, **options):
        shard_set = open_shard_set(
            pack_shards(tmp_path / "ten", [jpegs[3 * i : 3 * i + 3] for i in range(10)])
        )
        files = Slow(shard_set.files, dead)
        made.append(files)
        shard_set = type(shard_set)(shard_set.directory, shard_set.index, files)
        return ShardReader([shard_set], timeout_s=0.2, name="rank 3", **options), files

    yield make
    for files in made:
        files.released.set()


def test_a_tar_that_does_not_answer_is_given_up_and_not_asked_again(slow_reader, jpegs, caplog):
    reader, files = slow_reader({4}, num_threads=3)
    read = reader.read(reader.locate(np.arange(30)))
    late = [i for i, found in enumerate(read) if isinstance(found, Fault)]
    assert late == [12, 13, 14]
    assert "no answer within 0.2 s" in read[12].reason
    assert [array.tobytes() for i, array in enumerate(read) if i not in late] == jpegs[:12] + jpegs[
        15:30
    ]
    num_stuck = files.num_stuck
    assert isinstance(reader.read(reader.locate(np.array([13])))[0], Fault)
    assert files.num_stuck == num_stuck
    assert "rank 3 has waited 0 s for " in caplog.text
    assert "000004.tar" in caplog.text
    reader.close()


def test_storage_that_does_not_answer_at_all_ends_in_one_error(slow_reader):
    reader, _ = slow_reader(set(range(10)), num_threads=3)
    with pytest.raises(
        DataError,
        match=r"rank 3, .*tar: the storage does not answer; got no answer within 0.2 s from [3-5] tars",
    ):
        reader.read(reader.locate(np.arange(0, 30, 3)))
    reader.close()


def test_an_error_that_is_no_storage_s_is_a_bug_and_raised(reader, monkeypatch):
    locations = reader.locate(np.array([1]))
    monkeypatch.setattr(zlib, "crc32", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reader.read(locations)


@pytest.mark.parametrize(
    "content", [b"\x89PNG not a photograph at all", b"\xff\xd8 cut short", b"\xff"]
)
def test_bytes_that_are_no_whole_jpeg_are_a_fault(tmp_path, pack_shards, jpegs, content):
    shard_dir = pack_shards(tmp_path / "odd", [jpegs[:2]])
    tar = bytearray((shard_dir / "000000.tar").read_bytes())

    def change(records):
        start = int(records[1]["offset"])
        tar[start : start + len(content)] = content
        records[1]["size"], records[1]["crc32"] = len(content), zlib.crc32(content)
        return records

    rewrite_index(shard_dir, "000000.samples", change)
    (shard_dir / "000000.tar").write_bytes(tar)
    reader = open_reader(shard_dir)
    found = reader.read(reader.locate(np.arange(2)))[1]
    assert isinstance(found, Fault)
    assert found.reason.startswith("not a whole JPEG: ")
    reader.close()


def test_a_damaged_record_is_a_fault_of_its_sample(shard_dir, jpegs):
    write_set_index(shard_dir)
    path = shard_dir / "set.index"
    flip_byte(path, path.stat().st_size - 32 * 5 + 20)  # the width of sample 32
    reader = open_reader(shard_dir)
    locations = reader.locate(np.arange(37))
    assert np.flatnonzero(~locations.is_sound).tolist() == [32]
    read = reader.read(locations)
    assert read[32] == Fault("its record in the index of the set is damaged")
    assert [array.tobytes() for i, array in enumerate(read) if i != 32] == jpegs[:32] + jpegs[33:]
    reader.close()


def test_a_directory_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(ShardError, match="not a complete shard set"):
        open_reader(tmp_path)
