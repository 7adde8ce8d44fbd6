"""The binary index: 32 bytes a sample, mapped read-only, every damage refused."""

import numpy as np
import pytest

from retfm_dist.errors import ShardError
from retfm_dist.shard.index import SAMPLE_DTYPE, read_sample_index, write_sample_index


def some_records(count=5):
    records = np.zeros(count, SAMPLE_DTYPE)
    records["offset"] = np.arange(count, dtype=np.uint64) * 2**40
    records["uid"] = 2**64 - 1 - np.arange(count, dtype=np.uint64)
    records["size"], records["crc32"], records["height"], records["width"] = (
        7,
        2**32 - 1,
        65535,
        512,
    )
    return records


def test_a_record_is_32_packed_little_endian_bytes():
    assert SAMPLE_DTYPE.itemsize == 32
    record = np.array([(1, 2, 3, 4, 5, 6, 7)], SAMPLE_DTYPE)
    assert record.tobytes().hex() == (
        "0100000000000000020000000300000004000500060000000000000007000000"
    )


@pytest.mark.parametrize("count", [0, 1, 5])
def test_records_come_back_read_only(tmp_path, count):
    write_sample_index(tmp_path / "a.samples", some_records(count))
    records = read_sample_index(tmp_path / "a.samples")
    np.testing.assert_array_equal(records, some_records(count))
    assert not records.flags.writeable
    assert (tmp_path / "a.samples").stat().st_size == 32 * (1 + count)


def test_every_flipped_bit_is_refused(tmp_path):
    path = tmp_path / "a.samples"
    write_sample_index(path, some_records(2))
    data = path.read_bytes()
    reserved = range(28 * 8, 32 * 8)  # unused; under the manifest's hash like all the rest
    for bit in set(range(len(data) * 8)) - set(reserved):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(ShardError, match="index"):
            read_sample_index(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "cannot read the sample index"),
        (lambda data: data[:31], "truncated; got 31 bytes, expected a header of 32 bytes"),
        (lambda data: data[:-1], "wrong length; got 159 bytes of records, expected 160"),
        (lambda data: data + b"\0", "wrong length; got 161"),
        (lambda data: b"v1.2 12\n" + data[8:], "not a sample index; got b'v1.2 12"),
        (lambda data: data[:8] + b"\x02" + data[9:], "another layout; got version 2"),
        (lambda data: data[:-1] + b"\x01", "the sample index is damaged"),
    ],
)
def test_what_is_no_index_is_refused(tmp_path, change, message):
    path = tmp_path / "a.samples"
    write_sample_index(path, some_records())
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ShardError, match=message):
        read_sample_index(path)


def test_a_missing_index_is_refused(tmp_path):
    with pytest.raises(ShardError, match="cannot read the sample index"):
        read_sample_index(tmp_path / "none.samples")
