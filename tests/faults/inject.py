"""Faults: whom they hit, and when."""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from retfm_dist.errors import CheckpointError
from retfm_dist.train.checkpoint.folder import list_checkpoints
from retfm_dist.train.checkpoint.verify import verify_checkpoint
from tests.fakes.jobs import members

MOMENTS = ("starting", "training", "saving")
TARGETS = ("runner", "launcher", "0", "1", "ranks", "all")
DAMAGES = ("nothing", "nothing", "flipped bit", "cut short", "file gone", "manifest gone")
_POLL_S = 0.002
_SAVING_LIMIT_S = 20.0


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        moment: What the job does when it is hit.
        wait_s: Time after the beginning of that.
        target: Which process is killed, or all.
        damage: What happens to the newest checkpoint while the job is down.
    """

    moment: str
    wait_s: float
    target: str
    damage: str

    def __str__(self) -> str:
        return f"{self.moment} + {self.wait_s:.2f} s, kill {self.target}, {self.damage}"


def draw_fault(draw: random.Random) -> Fault:
    """Draw a fault."""
    moment = draw.choice(MOMENTS)
    wait_s = draw.uniform(0, {"starting": 10.0, "training": 3.0, "saving": 0.05}[moment])
    return Fault(moment, wait_s, draw.choice(TARGETS), draw.choice(DAMAGES))


def hit(fault: Fault, process: subprocess.Popen, run_dir: Path) -> bool:
    """Wait for the moment and kill; return whether the job had not ended by itself before."""
    if fault.moment != "starting":
        _wait(process, _grows(run_dir / "metrics.jsonl"), limit_s=120)
    if fault.moment == "saving":
        folder = run_dir / "checkpoints"
        _wait(process, lambda: any(folder.glob(".step_*")), limit_s=_SAVING_LIMIT_S)
    end = time.monotonic() + fault.wait_s
    _wait(process, lambda: time.monotonic() >= end, limit_s=60)
    if process.poll() is not None:
        return False
    for victim in _victims(fault.target, process):
        try:
            victim.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    return True


def damage_newest(fault: Fault, run_dir: Path, draw: random.Random) -> Fault:
    """Damage the newest checkpoint of a job that is down, unless it is the only whole one.

    Returns:
        The fault as it came to be.
    """
    whole = [path for path in list_checkpoints(run_dir) if _is_whole(path)]
    if len(whole) < 2:
        return replace(fault, damage="nothing")
    newest = whole[-1]
    victim = draw.choice(sorted(newest.iterdir()))
    match fault.damage:
        case "flipped bit":
            content = bytearray(victim.read_bytes())
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            victim.write_bytes(content)
        case "cut short":
            victim.write_bytes(victim.read_bytes()[:-1])
        case "file gone":
            victim.unlink()
        case "manifest gone":
            (newest / "manifest.json").unlink()
    return fault


def _is_whole(directory: Path) -> bool:
    try:
        verify_checkpoint(directory)
    except CheckpointError:
        return False
    return True


def _victims(target: str, process: subprocess.Popen) -> list[psutil.Process]:
    try:
        family = members(process)
    except psutil.NoSuchProcess:
        return []
    ranks = [p for name, p in family.items() if name.isdigit() and p is not None]
    if target == "ranks":
        return ranks
    if target == "all":
        return [p for p in family.values() if p is not None]
    victim = family.get(target) or family["runner"]
    return [victim] if victim is not None else []


def _wait(process: subprocess.Popen, is_so: Callable[[], bool], *, limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while process.poll() is None and not is_so() and time.monotonic() < end:
        time.sleep(_POLL_S)


def _grows(path: Path) -> Callable[[], bool]:
    """Return whether a log has become longer since its shortest: a start cuts it back first."""
    shortest = path.stat().st_size if path.exists() else 0

    def has_grown() -> bool:
        nonlocal shortest
        size = path.stat().st_size if path.exists() else 0
        shortest = min(shortest, size)
        return size > shortest

    return has_grown
