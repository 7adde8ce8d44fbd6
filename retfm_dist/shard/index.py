"""The binary sample index `NNNNNN.samples` that stands beside each tar.

    bytes  0..31   header: magic "RETFMIDX", version, record size, record count, crc32 of records
    bytes 32..     one packed 32-byte record per sample, in the order of the tar

All integers are little-endian. Header and record have the same size, so every 64-bit field of a
record is aligned in a memory map of the file. An index says where the bytes of KEY.jpg lie, so
a reader needs neither the tar's headers nor a scan of it.
"""

import zlib
from pathlib import Path

import numpy as np

from retfm_dist.durable import open_atomic
from retfm_dist.errors import ShardError

SAMPLE_DTYPE = np.dtype(
    [
        ("offset", "<u8"),
        ("size", "<u4"),
        ("crc32", "<u4"),
        ("height", "<u2"),
        ("width", "<u2"),
        ("uid", "<u8"),
        ("flags", "<u4"),
    ]
)
"""One sample: place and size of its JPEG in the tar (bytes), zlib crc32 of those bytes, image
height and width (px), first 64 bits of the source file's sha256, and flags (0: none defined)."""

HEADER_DTYPE = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("record_bytes", "<u4"),
        ("num_samples", "<u8"),
        ("records_crc32", "<u4"),
        ("reserved", "<u4"),
    ]
)
MAGIC = b"RETFMIDX"
VERSION = 1


def write_sample_index(path: Path, records: np.ndarray) -> None:
    """Write the records of one tar atomically.

    Args:
        path: The index file, `NNNNNN.samples`.
        records: [N] of `SAMPLE_DTYPE`, in the order of the tar.
    """
    assert records.dtype == SAMPLE_DTYPE, records.dtype
    body = np.ascontiguousarray(records).tobytes()
    header = np.zeros((), HEADER_DTYPE)
    header["magic"] = MAGIC
    header["version"] = VERSION
    header["record_bytes"] = SAMPLE_DTYPE.itemsize
    header["num_samples"] = len(records)
    header["records_crc32"] = zlib.crc32(body)
    with open_atomic(path) as file:
        file.write(header.tobytes())
        file.write(body)


def read_sample_index(path: Path) -> np.ndarray:
    """Map the records of one tar into memory and check them against the header.

    Returns:
        [N] of `SAMPLE_DTYPE`, read-only, backed by the file.

    Raises:
        ShardError: The file is missing, truncated, of another format or version, or damaged.
    """
    try:
        # A plain array over the map: the subclass numpy.memmap makes each field access slow.
        data = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    except (OSError, ValueError) as error:  # ValueError: numpy refuses to map an empty file
        raise ShardError("cannot read the sample index", where=path, got=error) from error
    if len(data) < HEADER_DTYPE.itemsize:
        raise ShardError(
            "the sample index is truncated",
            where=path,
            got=f"{len(data)} bytes",
            expected=f"a header of {HEADER_DTYPE.itemsize} bytes",
        )
    header = data[: HEADER_DTYPE.itemsize].view(HEADER_DTYPE)[0]
    body = data[HEADER_DTYPE.itemsize :]
    _check_header(path, header, body)
    records = body.view(SAMPLE_DTYPE)
    records.flags.writeable = False
    return records


def _check_header(path: Path, header: np.void, body: np.ndarray) -> None:
    """Refuse an index whose header does not describe its body."""
    if header["magic"] != MAGIC:
        raise ShardError(
            "not a sample index", where=path, got=bytes(header["magic"]), expected=MAGIC
        )
    layout = (int(header["version"]), int(header["record_bytes"]))
    if layout != (VERSION, SAMPLE_DTYPE.itemsize):
        raise ShardError(
            "the sample index has another layout",
            where=path,
            got=f"version {layout[0]} with records of {layout[1]} bytes",
            expected=f"version {VERSION} with records of {SAMPLE_DTYPE.itemsize} bytes",
        )
    num_bytes = int(header["num_samples"]) * SAMPLE_DTYPE.itemsize
    if len(body) != num_bytes:
        raise ShardError(
            "the sample index has the wrong length",
            where=path,
            got=f"{len(body)} bytes of records",
            expected=f"{num_bytes}",
        )
    if zlib.crc32(body.data) != int(header["records_crc32"]):
        raise ShardError(
            "the sample index is damaged", where=path, hint="build the shard set again"
        )
