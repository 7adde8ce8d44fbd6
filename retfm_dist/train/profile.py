"""A trace of some steps, and a table of where their time goes; the main rank's."""

import logging
import sys

import torch
from torch.profiler import ProfilerActivity, profile

from retfm_dist.durable import write_text
from retfm_dist.train.run_dir import RunDir

_MOST_ROWS = 40

logger = logging.getLogger(__name__)


class StepProfile:
    """Profiles a window of steps and writes what it found into the run directory.

    Args:
        run_dir: The run directory.
        window: First step and the step after the last, 0-based; None profiles nothing.
        device: Where the steps compute.
    """

    def __init__(
        self, run_dir: RunDir, window: tuple[int, int] | None, *, device: torch.device
    ) -> None:
        """Nothing is recorded yet."""
        self._run_dir = run_dir
        self._begin, self._end = window or (sys.maxsize, sys.maxsize)
        self._device = device
        self._profile: profile | None = None

    def before(self, step: int) -> None:
        """Begin to record where a step is the window's first."""
        if step != self._begin:
            return
        activities = [ProfilerActivity.CPU]
        if self._device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self._profile = profile(activities=activities, record_shapes=True)
        self._profile.start()

    def after(self, step: int) -> None:
        """Write trace and table where a step is the window's last.

        Raises:
            SystemFailureError: The disk is full or refuses.
        """
        if self._profile is None or step + 1 != self._end:
            return
        self._profile.stop()
        folder = self._run_dir.profile_dir
        folder.mkdir(exist_ok=True)
        name = f"steps_{self._begin:08d}_{self._end:08d}"
        self._profile.export_chrome_trace(str(folder / f"{name}.json.gz"))
        order = "self_cuda_time_total" if self._device.type == "cuda" else "self_cpu_time_total"
        table = self._profile.key_averages().table(sort_by=order, row_limit=_MOST_ROWS)
        write_text(folder / f"{name}.txt", table)
        self._profile = None
        logger.info("profiled %s: %s/%s.txt and .json.gz", name, folder.name, name)

    def close(self) -> None:
        """End a recording that the run did not come to the end of."""
        if self._profile is not None:
            self._profile.stop()
            self._profile = None
