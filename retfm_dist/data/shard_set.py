"""A shard set as training reads it: its index, its tars, and who is in it."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retfm_dist.data.shard_files import LocalFiles, ShardFiles
from retfm_dist.errors import DataError
from retfm_dist.shard.manifest import MANIFEST_NAME
from retfm_dist.shard.set_index import SetIndex, open_set_index

COMPOSITION_NAME = "cohort.json"


@dataclass(frozen=True)
class ShardSet:
    """An open shard set.

    Attributes:
        directory: Where its small files are: manifest, composition, table.
        index: Where its samples lie.
        files: Its tars.
        obtain: Makes another file of the set be in the directory, if the set has it.
        is_remote: Whether tars are fetched before they are read.
    """

    directory: Path
    index: SetIndex
    files: ShardFiles
    obtain: Callable[[str], None] = lambda name: None
    is_remote: bool = False

    def is_there(self) -> bool:
        """Whether the set still stands where it was opened; what is open can be read without it."""
        return (self.directory / MANIFEST_NAME).is_file()

    def read_composition(self) -> dict[str, Any] | None:
        """Return the composition tables of the set; None where it has none.

        Raises:
            DataError: They are damaged.
        """
        self.obtain(COMPOSITION_NAME)
        path = self.directory / COMPOSITION_NAME
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DataError(
                "cannot read the composition of the set",
                where=path,
                got=error,
                hint="copy or build the set again",
            ) from error

    def close(self) -> None:
        """Close the tars."""
        self.files.close()


def fingerprint_of(sets: Sequence[ShardSet]) -> str:
    """Return a hex digest that names the content of several sets, in their order."""
    fingerprints = [shard_set.index.fingerprint for shard_set in sets]
    if len(fingerprints) == 1:
        return fingerprints[0]
    return hashlib.sha256("+".join(fingerprints).encode("ascii")).hexdigest()


def open_shard_set(
    directory: Path, *, max_missing_ratio: float = 0.0, max_open_files: int | None = None
) -> ShardSet:
    """Open a set on a file system.

    Args:
        directory: The set.
        max_missing_ratio: Largest share of the samples whose tars may be absent.
        max_open_files: Most tars kept open; None follows the limit of the process.

    Raises:
        ShardError: The set is incomplete or damaged.
        DataError: Tars are missing.
    """
    index = open_set_index(directory)
    present = {entry.name for entry in os.scandir(directory)}
    missing = [number for number in range(len(index.names)) if index.names[number] not in present]
    num_lost = sum(int(index.starts[number + 1] - index.starts[number]) for number in missing)
    if num_lost > max_missing_ratio * index.num_samples:
        raise DataError(
            "tars of the shard set are missing",
            where=directory,
            got=f"{len(missing)} of {len(index.names)} tars with {num_lost} samples absent, the "
            f"first is {index.names[missing[0]]}",
            hint="copy the set again, or let data.max_bad_ratio allow for it",
        )
    return ShardSet(
        directory, index, LocalFiles(directory, index.names, max_open_files=max_open_files)
    )
