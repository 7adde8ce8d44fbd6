"""Plain USTAR archives, byte-reproducible, and DALI's text index of them.

    512 bytes header, data, zeros up to a multiple of 512      per member
    zeros up to a multiple of 10,240, at least 1,024           end of archive

Mode 0644, owner 0, no owner names, time 0. Python's own writer defaults to PAX and GNU records
that DALI's reader misreads; here a name that would need one is a programming error.
"""

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from retfm_dist.errors import ShardError

BLOCK_BYTES = 512
_RECORD_BYTES = 20 * BLOCK_BYTES
_MEMBER_NAME = re.compile(r"[A-Za-z0-9_-]{1,90}\.[a-z0-9]{1,8}")


@dataclass(frozen=True)
class Member:
    """One file in a tar.

    Attributes:
        name: KEY.jpg or KEY.json.
        offset: Where its data begin in the tar, bytes.
        size: Length of its data, bytes.
    """

    name: str
    offset: int
    size: int

    @property
    def key(self) -> str:
        """Name up to the dot."""
        return self.name.partition(".")[0]

    @property
    def extension(self) -> str:
        """Name after the dot."""
        return self.name.partition(".")[2]


def member_bytes(size: int) -> int:
    """Return the bytes that a member with `size` bytes of data takes in a tar."""
    return BLOCK_BYTES + size + -size % BLOCK_BYTES


def render_header(name: str, size: int) -> bytes:
    """Return the 512 bytes before a member's data; name and size are all that varies."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


class TarWriter:
    """Append members to a tar and hash it on the way."""

    def __init__(self, file: BinaryIO) -> None:
        """Write to `file`, which stands at its beginning."""
        self._file = file
        self._digest = hashlib.sha256()
        self._num_bytes = 0

    def add(self, name: str, data: bytes) -> Member:
        """Append a member."""
        assert _MEMBER_NAME.fullmatch(name), name
        self._write(render_header(name, len(data)))
        member = Member(name, self._num_bytes, len(data))
        self._write(data)
        self._write(bytes(-len(data) % BLOCK_BYTES))
        return member

    def finish(self) -> tuple[int, str]:
        """Write the end of the archive; return the tar's size in bytes and its hex sha256."""
        self._write(bytes(2 * BLOCK_BYTES))
        self._write(bytes(-self._num_bytes % _RECORD_BYTES))
        return self._num_bytes, self._digest.hexdigest()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._num_bytes += len(data)


def read_members(path: Path) -> Iterator[Member]:
    """Walk the headers of a tar without reading its data.

    Raises:
        ShardError: A header is damaged, of another kind than a plain file, or cut off.
    """
    with path.open("rb") as file:
        num_bytes = os.fstat(file.fileno()).st_size
        offset = 0
        while True:
            block = os.pread(file.fileno(), BLOCK_BYTES, offset)
            if block == bytes(BLOCK_BYTES):
                return
            try:
                info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
            except (tarfile.HeaderError, UnicodeDecodeError) as error:
                raise ShardError(
                    "the tar has a damaged header", where=f"{path} at byte {offset}", got=error
                ) from error
            offset += BLOCK_BYTES
            if not info.isreg() or offset + info.size > num_bytes:
                raise ShardError(
                    "the tar has a member that is not a whole regular file",
                    where=f"{path} at byte {offset - BLOCK_BYTES}",
                )
            yield Member(info.name, offset, info.size)
            offset += member_bytes(info.size) - BLOCK_BYTES


def render_dali_index(members: Sequence[Member]) -> str:
    """Render the index that DALI's `wds2idx` makes of a tar with these members.

    One line per sample: extension, offset, size and name of each of its files.

    Source: `wds2idx.py` of NVIDIA DALI 2.4, index version v1.2.
    """
    lines: dict[str, list[str]] = {}
    for member in members:
        parts = lines.setdefault(member.key, [])
        parts.append(f"{member.extension} {member.offset} {member.size} {member.name}")
    return "".join([f"v1.2 {len(lines)}\n", *(" ".join(parts) + "\n" for parts in lines.values())])
