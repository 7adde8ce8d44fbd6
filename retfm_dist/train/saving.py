"""Saving of a run: what is in a checkpoint's state, and when one is due."""

import contextlib
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from typing_extensions import Self

from retfm_dist.config.load import config_hash
from retfm_dist.disk_tensors import DiskTensors
from retfm_dist.errors import CheckpointError
from retfm_dist.train.checkpoint.folder import Retention
from retfm_dist.train.checkpoint.saver import Saver, Status
from retfm_dist.train.checkpoint.trigger import Trigger
from retfm_dist.train.environment import COMPUTE_LIBRARIES
from retfm_dist.train.experiment import experiment_of
from retfm_dist.train.run import Run
from retfm_dist.versions import software_versions

logger = logging.getLogger(__name__)


class Saving:
    """Saves a run while it trains; a context manager that every rank enters.

    Args:
        run: The run.
        start_step: Completed steps; a restart from now on begins there too.
    """

    def __init__(self, run: Run, *, start_step: int) -> None:
        """Take the memory that a copy of the state needs."""
        self._run = run
        self._start_step = start_step
        checkpoint = run.config.checkpoint
        offload_dir = run.config.engine.offload_dir
        self._saver = Saver(
            run.run_dir,
            num_values=sum(len(values) for _, values in run.engine.owned()),
            retention=Retention(checkpoint.keep_last, run.plan.keep_every),
            ranks=run.ranks,
            device=run.device,
            disk=None if offload_dir is None else DiskTensors(offload_dir),
            copies=run.copier,
        )
        self._trigger = Trigger(
            checkpoint.every,
            every_steps=run.plan.checkpoint_every,
            time_between_failures_s=3600 * checkpoint.hours_between_failures,
        )

    def __enter__(self) -> Self:
        """Return this object."""
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the thread that writes; a save under way is completed where no rank is missing."""
        if error_type is not None and self._run.ranks.world_size == 1:
            with contextlib.suppress(CheckpointError):  # what went wrong first is what matters
                self._saver.finish()
        self._saver.close()

    @property
    def status(self) -> Status:
        """What this rank's thread is at."""
        return self._saver.status

    def is_planned(self, step: int) -> bool:
        """Whether to save after `step` steps whatever the time, the same on all ranks."""
        return step == self._run.plan.total_steps or self._trigger.is_planned(step)

    @property
    def is_time(self) -> bool:
        """Whether it is time to save, as the main rank sees it; False on the others."""
        return self._run.ranks.is_main and self._trigger.is_time(is_saving=self._saver.is_saving)

    def hold(self, step: int) -> None:
        """Wait for the save under way where the next step could be lost beyond what is allowed.

        All ranks call this.

        Args:
            step: Completed steps.

        Raises:
            CheckpointError: A rank could not write its part, or the main one not commit them.
        """
        newest = max(self._start_step, self._saver.committed)
        if self._run.plan.max_lost and step + 1 - newest > self._run.plan.max_lost:
            self.finish(step)

    def advance(self, status: int) -> None:
        """Take the save under way one stage further; all ranks call this with the highest status.

        Raises:
            CheckpointError: A rank could not write its part, or the main one not commit them.
        """
        self._saver.advance(status)

    def begin(self, step: int, progress: Mapping[str, Any]) -> None:
        """Copy the state after `step` steps and begin to write it; all ranks call this.

        Args:
            step: Completed steps.
            progress: What belongs to the state beside engine and loader, JSON values by name.

        Raises:
            CheckpointError: The save before has failed, on any rank.
        """
        self._run.heartbeat.note(step, "saving")
        state = {**self._state(step), **progress}
        stall_s = self._saver.begin(step, self._run.engine.owned(), state)
        self._trigger.saved(stall_s=stall_s)
        if self._run.ranks.is_main and not self._run.loader.is_there():
            logger.warning(
                "%s: the shard set has gone; training goes on with the files that are open, but a "
                "restart will not find it: put it back",
                self._run.config.data.shards,
            )
        self._run.heartbeat.note(step, "reading data")

    def finish(self, step: int) -> None:
        """Wait until the save under way is complete; all ranks call this.

        Args:
            step: Completed steps.

        Raises:
            CheckpointError: A rank could not write its part, or the main one not commit them.
        """
        self._run.heartbeat.note(step, "saving")
        self._saver.finish()

    def _state(self, step: int) -> dict[str, Any]:
        run = self._run
        return {
            "step": step,
            "images_seen": step * run.config.schedule.global_batch_size,
            "num_updates": run.engine.num_updates(),
            "shapes": run.engine.shapes(),
            "rolled_back": [[w.begin, w.end] for w in run.skips.rolled_back],
            "data": run.loader.state(),
            "overrides": list(run.overrides),
            "experiment": experiment_of(run.config),
            "config": run.config.model_dump(mode="json"),
            "config_hash": config_hash(run.config),
            "versions": software_versions(*COMPUTE_LIBRARIES),
        }
