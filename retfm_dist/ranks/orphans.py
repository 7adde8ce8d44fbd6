"""Workers stop when their launcher has died.

DeepSpeed's launcher is two processes, and neither death reaches the workers:

    deepspeed (runner) -> deepspeed.launcher.launch -> one worker per rank

A runner killed by SIGKILL, or by SIGTERM on a single node, leaves the other two training. So each
worker watches the launcher that started it (DeepSpeed's or torchrun), and above DeepSpeed's its
runner. No other ancestor counts: a shell that exits must not end a run that was started in its
background. What an ancestor is, /proc tells; where there is none, nobody is watched.
"""

import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from retfm_dist.ranks.stopping import StopReason, StopRequest

logger = logging.getLogger(__name__)

DEEPSPEED_LAUNCHER = "deepspeed.launcher.launch"
"""Module that DeepSpeed's launcher runs as."""

_TORCHRUN = ("torch.distributed.run", "torch.distributed.launch")
_POLL_S = 0.5
# "python -u -m MODULE": what a process is stands in its first words, the rest are its options.
_HEAD_WORDS = 4
_PROC = Path("/proc")


@dataclass(frozen=True)
class Ancestors:
    """The processes whose end is this process's end.

    Attributes:
        launcher: Process id of the parent, if it is a launcher.
        runner: Process id of the grandparent, if it is DeepSpeed's runner.
    """

    launcher: int | None
    runner: int | None


def find_ancestors() -> Ancestors:
    """Return the ancestors to watch, as they are now."""
    parent = os.getppid()
    arguments = _arguments(parent)
    if not is_launcher(arguments):
        return Ancestors(None, None)
    grandparent = _parent_of(parent) if DEEPSPEED_LAUNCHER in arguments else None
    if grandparent is not None and is_runner(_arguments(grandparent)):
        return Ancestors(parent, grandparent)
    return Ancestors(parent, None)


def lost_ancestor(ancestors: Ancestors) -> int | None:
    """Return the process id of an ancestor that has exited, or None.

    A process whose parent has ended gets another one, so ids that are used again do no harm.
    """
    if ancestors.launcher is None:
        return None
    if os.getppid() != ancestors.launcher:
        return ancestors.launcher
    if ancestors.runner is not None and _parent_of(ancestors.launcher) != ancestors.runner:
        return ancestors.runner
    return None


def stop_when_orphaned(stop: StopRequest) -> None:
    """Start a thread that asks this process to stop within a second of its launcher's death.

    Training saves and ends; before and after it, the process ends at once. Call it before anything
    slow, since a launcher that died earlier goes unnoticed.

    Args:
        stop: What the thread asks.
    """
    ancestors = find_ancestors()
    if ancestors.launcher is None:
        return

    def watch() -> None:
        never = threading.Event()
        while not never.wait(_POLL_S):
            if (lost := lost_ancestor(ancestors)) is not None:
                _say_goodbye(lost)
                stop.ask(StopReason.LAUNCHER_GONE)
                return

    threading.Thread(target=watch, name="orphan-watch", daemon=True).start()


def _say_goodbye(lost: int) -> None:
    """Log why the process stops; do not wait for a log pipe that is no longer read."""
    message = "the launcher, process %d, has exited"
    teller = threading.Thread(target=logger.error, args=(message, lost), daemon=True)
    teller.start()
    teller.join(timeout=_POLL_S)


def is_launcher(arguments: list[str]) -> bool:
    """Whether a command line is that of a launcher: DeepSpeed's, or torchrun in any form."""
    head = arguments[:_HEAD_WORDS]
    return DEEPSPEED_LAUNCHER in head or any(
        argument in _TORCHRUN or Path(argument).name == "torchrun" for argument in head
    )


def is_torchrun(pid: int) -> bool:
    """Whether a process is torchrun, which restarts what has failed."""
    arguments = _arguments(pid)
    return is_launcher(arguments) and DEEPSPEED_LAUNCHER not in arguments[:_HEAD_WORDS]


def is_runner(arguments: list[str]) -> bool:
    """Whether a command line is that of `deepspeed` itself, however it was started."""
    return any(
        argument == "deepspeed.launcher.runner" or Path(argument).name == "deepspeed"
        for argument in arguments[:_HEAD_WORDS]
    )


def _arguments(pid: int) -> list[str]:
    """Return the command line of a process; empty if it is gone or cannot be read."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _parent_of(pid: int) -> int | None:
    """Return the parent's id of another process; None if it is gone or cannot be read."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # "pid (name) state ppid ...": the name may hold spaces and parentheses.
    return int(stat.rpartition(")")[2].split()[1])
