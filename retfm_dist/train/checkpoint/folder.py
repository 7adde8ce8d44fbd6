"""The checkpoints of a run: which there are, which to use, which to remove."""

import logging
import shutil
from pathlib import Path
from typing import Any

import torch

from retfm_dist.errors import CheckpointError, DamagedCheckpointError
from retfm_dist.train.checkpoint.read import open_checkpoint
from retfm_dist.train.checkpoint.verify import verify_checkpoint

logger = logging.getLogger(__name__)

_DAMAGED = ".damaged"


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Return all checkpoint directories of a run, oldest first, complete or not."""
    steps = (run_dir / "checkpoints").glob("step_" + "[0-9]" * 8)
    return sorted(path for path in steps if path.is_dir())


def step_of(directory: Path) -> int:
    """Return the step that the name of a listed checkpoint states."""
    return int(directory.name.removeprefix("step_"))


def find_checkpoint(run_dir: Path) -> Path:
    """Return the newest complete and undamaged checkpoint of a run.

    A damaged newer one is passed over with a warning; one that cannot be judged is not.

    Raises:
        CheckpointError: The run has no checkpoint, all are damaged, or the newest one that is not
            cannot be read now or was written by another version.
    """
    reasons = []
    for directory in reversed(list_checkpoints(run_dir)):
        try:
            verify_checkpoint(directory)
        except DamagedCheckpointError as error:
            logger.warning("checkpoint passed over: %s", error)
            reasons.append(str(error))
            continue
        return directory
    if reasons:
        raise CheckpointError(
            f"all {len(reasons)} checkpoints are damaged",
            where=run_dir,
            got=reasons[0],
            hint="restore one from a backup, or start over in another run.dir",
        )
    raise CheckpointError("no checkpoint", where=run_dir, expected="checkpoints/step_XXXXXXXX")


def read_weights(checkpoint_dir: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the weights of a checkpoint and what is known about them, after verifying all of it.

    Returns:
        Name -> float32 CPU tensor, frozen tables included; and the content of state.json.

    Raises:
        CheckpointError: The checkpoint is incomplete or damaged.
    """
    verify_checkpoint(checkpoint_dir)
    checkpoint = open_checkpoint(checkpoint_dir)
    return dict(checkpoint.weights), checkpoint.state


def prune_checkpoints(run_dir: Path, *, keep_last: int, keep_every: int) -> None:
    """Remove old checkpoints; call after a newer one is complete.

    Args:
        run_dir: The run directory.
        keep_last: How many of the newest stay.
        keep_every: Those of a multiple of so many steps stay for ever; 0 is none.
    """
    for directory in list_checkpoints(run_dir)[:-keep_last]:
        if keep_every and step_of(directory) % keep_every == 0:
            continue
        # Out of sight first: what a kill leaves half removed must not look like a checkpoint.
        hidden = directory.with_name(f".{directory.name}.partial")
        directory.rename(hidden)
        shutil.rmtree(hidden)


def remove_leftovers(run_dir: Path) -> None:
    """Remove what killed processes left half written or half removed."""
    for hidden in (run_dir / "checkpoints").glob(".step_*.partial"):
        # A rank of the job before may be writing there still, until it notices its launcher's end.
        shutil.rmtree(hidden, ignore_errors=True)


def set_aside(directory: Path) -> None:
    """Rename a damaged checkpoint, so that its step can be saved anew."""
    aside = directory.with_name(directory.name + _DAMAGED)
    shutil.rmtree(aside, ignore_errors=True)
    directory.rename(aside)
