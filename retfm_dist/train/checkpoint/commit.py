"""The moment at which the files of all ranks become a checkpoint."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from retfm_dist.durable import sha256_file, sync_directory, write_json
from retfm_dist.errors import CheckpointError
from retfm_dist.train.checkpoint.layout import FORMAT, MANIFEST, STATE, part_name
from retfm_dist.train.checkpoint.part import FileFacts


def staging_path(directory: Path, start_id: str) -> Path:
    """Return the hidden directory in which the parts of a checkpoint are gathered.

    Args:
        directory: Final place of the checkpoint.
        start_id: Name of this start of the job. What an earlier one, not quite dead, still writes
            goes elsewhere.
    """
    return directory.with_name(f".{directory.name}.{start_id}.partial")


def commit_checkpoint(
    directory: Path, *, staging: Path, state: Mapping[str, Any], parts: Sequence[FileFacts]
) -> None:
    """Add state and manifest to the parts in `staging`, and give it its final name.

    Args:
        directory: Final place; must not exist.
        staging: Holds the flushed file of every rank.
        state: JSON values, "shapes" of all tensors among them.
        parts: What each rank's file is, in the order of ranks.

    Raises:
        CheckpointError: The disk is full or refuses.
    """
    with writing(directory):
        write_json(staging / STATE, {"format": FORMAT, "world_size": len(parts), **state})
        state_facts = FileFacts((staging / STATE).stat().st_size, sha256_file(staging / STATE))
        files = {part_name(rank): facts for rank, facts in enumerate(parts)} | {STATE: state_facts}
        listed = {name: asdict(facts) for name, facts in files.items()}
        write_json(staging / MANIFEST, {"format": FORMAT, "files": listed})
        staging.rename(directory)
        sync_directory(directory.parent)


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Say of a failure which checkpoint could not be written.

    Raises:
        CheckpointError: The disk is full or refuses.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            "cannot write the checkpoint",
            where=directory,
            got=error,
            hint="earlier checkpoints are untouched; free some space and run the command again",
        ) from error
