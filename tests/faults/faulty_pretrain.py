"""launch/pretrain.py whose ranks fail where a plan in the environment says: as hardware does.

RETFM_FAULTS holds the JSON of a list of `Blow`. Each process takes those of its rank and of its
attempt; what they do comes from outside the code under test: a signal, a limit of the kernel, or
an exception where PyTorch raises those of the GPU.
"""

import json
import os
import resource
import runpy
import signal
import sys
from dataclasses import dataclass

from retfm_dist.ranks.restarts import restart_count
from retfm_dist.train.displays import Displays
from tests.fakes.jobs import SCRIPT

VARIABLE = "RETFM_FAULTS"


@dataclass(frozen=True)
class Blow:
    """One failure of one rank.

    Attributes:
        attempt: How often the job had been restarted.
        rank: Which rank.
        step: Completed steps.
        kind: "error", "out of memory", "killed", "segmentation fault", "stopped" or "disk".
    """

    attempt: int
    rank: int
    step: int
    kind: str


def strike(kind: str, attempt: int) -> None:
    """Fail in this process."""
    match kind:
        case "error":
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
        case "out of memory":
            # The figures differ each time, as those of the allocator do.
            raise RuntimeError(f"CUDA out of memory. Tried to allocate {7 + attempt}.50 GiB")
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segmentation fault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "disk":
            # Every later write of this process is refused by the kernel.
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        case _:
            raise AssertionError(kind)


def main() -> None:
    """Train, with failures."""
    attempt, rank = restart_count(), int(os.environ["RANK"])
    planned = [Blow(**item) for item in json.loads(os.environ[VARIABLE])]
    blows = {b.step: b.kind for b in planned if (b.attempt, b.rank) == (attempt, rank)}
    begin_step = Displays.begin_step

    def begin_step_or_fail(self: Displays, step: int) -> None:
        if step in blows:
            strike(blows.pop(step), attempt)
        begin_step(self, step)

    Displays.begin_step = begin_step_or_fail
    sys.argv[0] = str(SCRIPT)
    runpy.run_path(str(SCRIPT), run_name="__main__")


if __name__ == "__main__":
    main()
