"""The checkpoints of a run: which there are, which to use, which to remove."""

import logging
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
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


def read_weights(
    checkpoint_dir: Path, *, average: bool = False
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the weights of a checkpoint and what is known about them, after verifying all of it.

    Args:
        checkpoint_dir: The checkpoint.
        average: Whether their running mean is wanted in their place.

    Returns:
        Name -> float32 CPU tensor, frozen tables included; and the content of state.json.

    Raises:
        CheckpointError: The checkpoint is incomplete or damaged, or has no running mean.
    """
    verify_checkpoint(checkpoint_dir)
    checkpoint = open_checkpoint(checkpoint_dir)
    if average and not checkpoint.average:
        raise CheckpointError(
            "no running mean of the weights",
            where=checkpoint_dir,
            hint="a run keeps one with optimizer.ema_decay",
        )
    means = checkpoint.average if average else {}
    return {**checkpoint.weights, **means}, checkpoint.state


@dataclass(frozen=True)
class Retention:
    """Which checkpoints stay.

    Attributes:
        keep_last: How many of the newest.
        keep_every: Those of a multiple of so many steps stay for ever; 0 is none.
    """

    keep_last: int
    keep_every: int

    def expired(self, steps: Sequence[int]) -> list[int]:
        """Return which of the checkpoints after these steps go, ascending as given."""
        return [
            step for step in steps[: -self.keep_last]
            if not self.keep_every or step % self.keep_every
        ]  # fmt: skip


def prune_checkpoints(
    run_dir: Path, retention: Retention, *, in_use: Collection[Path] = ()
) -> None:
    """Remove old checkpoints; call after a newer one is complete.

    Args:
        run_dir: The run directory.
        retention: Which stay.
        in_use: Those that are being read; the next call removes them.
    """
    by_step = {step_of(path): path for path in list_checkpoints(run_dir)}
    for step in retention.expired(list(by_step)):
        directory = by_step[step]
        if directory in in_use:
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
