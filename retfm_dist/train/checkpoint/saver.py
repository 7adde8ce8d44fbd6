"""Checkpoints written beside training: a step waits for a copy in host memory, not for the disk.

Every rank copies what it owns and writes it in a thread of its own. The ranks compare notes once a
step, in the collective that they make anyway; when all parts are on disk the main rank commits
them, in its thread too. One save is under way at most: the next waits for it.
"""

import logging
import secrets
import shutil
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

import torch

from retfm_dist.disk_tensors import DiskTensors
from retfm_dist.durable import write_json
from retfm_dist.ranks.agreement import from_each, from_main, highest
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.checkpoint.commit import commit_checkpoint, staging_path, writing
from retfm_dist.train.checkpoint.folder import Retention, prune_checkpoints
from retfm_dist.train.checkpoint.layout import part_name
from retfm_dist.train.checkpoint.part import FileFacts, write_part
from retfm_dist.train.checkpoint.snapshot import Owned, Snapshot
from retfm_dist.train.run_dir import RunDir

logger = logging.getLogger(__name__)


class Status(IntEnum):
    """What a rank's thread is at; the highest of all ranks' decides."""

    IDLE = 0
    BUSY = 1
    FAILED = 2


@dataclass
class _Save:
    """The save under way.

    Attributes:
        directory: Where the checkpoint will be.
        state: Content of its state.json.
        begun_at: Monotonic time at which its step ended, s.
        stall_s: How long the step waited for it.
        future: This rank's work; None where it has none.
        parts: What each rank wrote, once all have; then the main rank commits.
    """

    directory: Path
    state: dict[str, Any]
    begun_at: float
    stall_s: float
    future: "Future[Any] | None"
    parts: list[FileFacts] | None = None


class Copies(Protocol):
    """Copies checkpoints elsewhere, beside training."""

    @property
    def in_use(self) -> Collection[Path]:
        """The checkpoints that must stay until they are copied."""
        ...

    def offer(self, checkpoint_dir: Path, retention: Retention) -> None:
        """Copy a complete checkpoint, and keep of the copies what the retention says."""
        ...


class Saver:
    """Saves a run while it trains; every method but `status` is called by all ranks together.

    Args:
        run_dir: The run directory, on storage that all ranks share.
        num_values: Number of fp32 values that this rank owns.
        retention: Which checkpoints stay.
        ranks: Which rank this is.
        device: Where the state is.
        disk: Where the copy of the state is; None: in memory.
        copies: Is told of each checkpoint that is complete; on the main rank, if at all.
    """

    def __init__(
        self,
        run_dir: RunDir,
        *,
        num_values: int,
        retention: Retention,
        ranks: Ranks,
        device: torch.device,
        disk: DiskTensors | None = None,
        copies: Copies | None = None,
    ) -> None:
        """Take the memory for a copy of what this rank owns, and start the thread that writes."""
        self._run_dir = run_dir
        self._retention = retention
        self._ranks = ranks
        self._copies = copies
        self._start_id = from_main(lambda: secrets.token_hex(4), ranks=ranks)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._snapshot = Snapshot(num_values, device=device, disk=disk)
        self._save: _Save | None = None
        self._committed = 0

    @property
    def is_saving(self) -> bool:
        """Whether a save is under way, the same on all ranks."""
        return self._save is not None

    @property
    def committed(self) -> int:
        """Step of the newest checkpoint that is known to be complete, the same on all ranks.

        0 before the first.
        """
        return self._committed

    @property
    def status(self) -> Status:
        """What this rank's thread is at."""
        future = self._save and self._save.future
        if future is None:
            return Status.IDLE
        if not future.done():
            return Status.BUSY
        return Status.FAILED if future.exception() else Status.IDLE

    def begin(self, step: int, owned: Owned, state: Mapping[str, Any]) -> float:
        """Copy the state after a step and begin to write it; waits for the save before.

        Args:
            step: Completed steps.
            owned: What this rank owns.
            state: JSON values, "shapes" of all tensors among them; the main rank's are written.

        Returns:
            Time that this took, s.

        Raises:
            CheckpointError: The save before has failed, on any rank.
        """
        begun_at = time.monotonic()
        self.finish()
        header, values = self._snapshot.take(owned)
        directory = self._run_dir.checkpoint_dir(step)
        future = self._pool.submit(self._write, directory, header, values)
        stall_s = time.monotonic() - begun_at
        self._save = _Save(directory, dict(state), begun_at, stall_s, future)
        return stall_s

    def advance(self, status: int) -> None:
        """Take the save one stage further when all ranks have come to the end of this one.

        Args:
            status: The highest of the ranks' `status`.

        Raises:
            CheckpointError: A rank could not write its part, or the main one not commit them.
        """
        save = self._save
        if save is None or status == Status.BUSY:
            return
        outcomes = from_each(_outcome(save.future))
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                self._save = None
                # Makes room on a full disk; other ranks' open files go when they are closed.
                staging = staging_path(save.directory, self._start_id)
                shutil.rmtree(staging, ignore_errors=True)
                raise outcome
        if save.parts is None:
            save.parts = outcomes
            save.future = self._pool.submit(self._commit, save) if self._ranks.is_main else None
        else:
            if self._ranks.is_main:
                logger.info("%s", _describe(save))
            self._committed = save.state["step"]
            self._save = None

    def finish(self) -> None:
        """Wait until the save under way is committed.

        Raises:
            CheckpointError: A rank could not write its part, or the main one not commit them.
        """
        while self._save is not None:
            if self._save.future is not None:
                wait([self._save.future])
            self.advance(highest([self.status])[0])

    def close(self) -> None:
        """End the thread after what it writes just now; a save that is not finished is none."""
        self._pool.shutdown()

    def _write(self, directory: Path, header: bytes, values: memoryview) -> FileFacts:
        with writing(directory):
            staging = staging_path(directory, self._start_id)
            staging.mkdir(parents=True, exist_ok=True)
            return write_part(staging / part_name(self._ranks.rank), header, values)

    def _commit(self, save: _Save) -> None:
        assert save.parts is not None
        staging = staging_path(save.directory, self._start_id)
        commit_checkpoint(save.directory, staging=staging, state=save.state, parts=save.parts)
        with writing(save.directory):
            write_json(self._run_dir.saved_path, {"step": save.state["step"]})
            in_use = self._copies.in_use if self._copies is not None else ()
            prune_checkpoints(self._run_dir.path, self._retention, in_use=in_use)
        if self._copies is not None:
            self._copies.offer(save.directory, self._retention)


def _outcome(future: "Future[Any] | None") -> Any:
    """Return the result of a rank's work, or its error; None where it is not done."""
    if future is None or not future.done():
        return None
    return future.exception() or future.result()


def _describe(save: _Save) -> str:
    assert save.parts is not None
    num_bytes = sum(part.num_bytes for part in save.parts)
    return (
        f"saved {save.directory.name}: {num_bytes / 1e6:,.1f} MB in "
        f"{time.monotonic() - save.begun_at:.1f} s beside training, which waited "
        f"{save.stall_s:.2f} s"
    )
