"""File of one rank: a safetensors header and the bytes of a snapshot, hashed as they are written.

The library's own writer takes tensors one by one and cannot hash what it writes; the format is a
length, a JSON header and the values end to end, which is how a snapshot lies in memory.

Source: https://github.com/huggingface/safetensors, "Format".
"""

import hashlib
import json
import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from retfm_dist.train.checkpoint.layout import Stretch

_ALIGNMENT = 8
_CHUNK_BYTES = 1 << 24
_BYTES_PER_VALUE = 4


@dataclass(frozen=True)
class FileFacts:
    """What the manifest says of a file.

    Attributes:
        num_bytes: Its size.
        sha256: Hex digest of its bytes.
    """

    num_bytes: int
    sha256: str


def part_header(stretches: Sequence[tuple[Stretch, int]]) -> bytes:
    """Return the bytes before the values.

    Args:
        stretches: Each stretch and its number of fp32 values, in the order in which they follow.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for stretch, num_values in stretches:
        begin, end = end, end + num_values * _BYTES_PER_VALUE
        header[stretch.key] = {"dtype": "F32", "shape": [num_values], "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def write_part(path: Path, header: bytes, values: memoryview) -> FileFacts:
    """Write a rank's file and flush it to disk.

    Args:
        path: The file; must not exist.
        header: As `part_header` returns it.
        values: The bytes that follow it.

    Raises:
        OSError: The disk is full or refuses.
    """
    # Both let go of the interpreter's lock, so that hash and write take one time, not two.
    with ThreadPoolExecutor(1, thread_name_prefix="checkpoint hash") as pool:
        digest = pool.submit(_sha256, header, values)
        with path.open("xb", buffering=0) as file:
            _write_all(file.fileno(), memoryview(header))
            _write_all(file.fileno(), values)
            os.fsync(file.fileno())
        return FileFacts(len(header) + values.nbytes, digest.result())


def _sha256(*parts: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _write_all(descriptor: int, data: memoryview) -> None:
    """Write all bytes; the system may take fewer at a time."""
    while data.nbytes:
        data = data[os.write(descriptor, data[:_CHUNK_BYTES]) :]
