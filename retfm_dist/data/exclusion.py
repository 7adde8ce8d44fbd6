"""Images that a run is told to leave out: a text file of uids, one a line."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retfm_dist.errors import DataError

_UID = re.compile(r"[0-9a-f]{16}")


def read_uids(path: Path) -> NDArray[np.uint64]:
    """Read uids, 16 hex digits a line; empty lines and what follows a "#" say nothing.

    Returns:
        uint64 [N], ascending, each once.

    Raises:
        DataError: The file cannot be read, or a line is no uid.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("cannot read the list of uids", where=path, got=error) from error
    uids = set()
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip().lower()
        if not text:
            continue
        if not _UID.fullmatch(text):
            raise DataError(
                "not the uid of an image",
                where=f"{path}, line {number}",
                got=repr(text[:40]),
                expected="16 hex digits, as in bad_samples.jsonl and the names of samples",
            )
        uids.add(int(text, 16))
    return np.array(sorted(uids), dtype=np.uint64)
