"""Runs that are hit again and again, started again by the same command, and compared at their end."""

import random
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from retfm_dist.train.checkpoint.folder import find_checkpoint, list_checkpoints
from tests.fakes.checkpoints import bits_of
from tests.fakes.jobs import arguments, deepspeed_command, metrics_of
from tests.fakes.processes import LIMIT_S, environment, free_port
from tests.faults.inject import Fault, damage_newest, draw_fault, hit

EVERY = 18
"""Steps between checkpoints."""
MOST_LOST = 20
"""Steps that a fault may cost where no checkpoint is damaged."""
CHANGES = (
    f"checkpoint.every={EVERY} steps", f"checkpoint.max_lost={MOST_LOST} steps",
    "checkpoint.keep_last=3", "log.every=1 steps",
    "log.reconstructions_every=0 steps", "tracking.mlflow=false",
)  # fmt: skip


@dataclass(frozen=True)
class Hit:
    """What a fault did.

    Attributes:
        fault: The fault.
        reached: Step that the job had logged last.
        resumed: Step that the next start went on from; None where the run had come to its end.
        was_damaged: Whether a checkpoint was damaged before that start, by this fault or by one
            that hit a start before it could say where it goes on.
    """

    fault: Fault
    reached: int
    resumed: int | None
    was_damaged: bool

    @property
    def lost(self) -> int:
        """Steps that had to be made again."""
        return 0 if self.resumed is None else max(0, self.reached - self.resumed)


def run_straight(
    shards: Path, run_dir: Path, *, num_steps: int, changes: tuple[str, ...] = CHANGES
) -> None:
    """Train without a fault, for comparison."""
    done = subprocess.run(
        train_command(shards, run_dir, num_steps, changes), env=environment(),
        capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def run_with_faults(
    shards: Path, folder: Path, *, seed: int, num_faults: int, num_steps: int
) -> Iterator[Hit]:
    """Hit runs until there have been enough faults; each is brought to its end and compared.

    Args:
        shards: The shard set.
        folder: Where the runs are; holds the undisturbed one as `straight`.
        seed: Of the faults.
        num_faults: How many.
        num_steps: Length of a run.

    Raises:
        AssertionError: A start failed, a process was left, or a run ended with other bits.
    """
    draw = random.Random(seed)
    number, left = 0, num_faults
    while left > 0:
        run_dir = folder / f"run_{number}"
        for found in _one_run(shards, run_dir, draw, num_faults=left, num_steps=num_steps):
            left -= 1
            yield found
        expected = bits_of(find_checkpoint(folder / "straight"))
        assert bits_of(find_checkpoint(run_dir)) == expected, "the run ended with other bits"
        steps = [[line[0] for line in metrics_of(path)] for path in (run_dir, folder / "straight")]
        assert steps[0] == steps[1], "a line of metrics is missing or repeated"
        number += 1


def _one_run(
    shards: Path, run_dir: Path, draw: random.Random, *, num_faults: int, num_steps: int
) -> Iterator[Hit]:
    """Start one run again and again until it is done."""
    log_path = run_dir.with_suffix(".log")
    # Faults after which no start has come so far as to say where it goes on.
    pending: list[tuple[Fault, int]] = []
    for attempt in range(num_faults + 2):
        with log_path.open("w") as log:
            process = subprocess.Popen(
                train_command(shards, run_dir, num_steps), env=environment(), stdout=log, stderr=log
            )
        fault, was_hit = None, False
        if attempt < num_faults:
            fault = draw_fault(draw)
            was_hit = hit(fault, process, run_dir)
        process.wait(timeout=LIMIT_S)
        left = _wait_for_all(run_dir)  # orphans may yet come to the end of the run
        text = log_path.read_text()
        assert not left, f"left behind by {fault}: {left}\n{text[-3000:]}"
        resumed = re.search(r"starting from (?:step (0)$|.*step_(\d+))", text, re.MULTILINE)
        if resumed is not None or "has finished" in text:
            step = None if resumed is None else int(resumed[1] or resumed[2])
            damaged = any(hit_by.damage != "nothing" for hit_by, _ in pending)
            yield from (Hit(*item, resumed=step, was_damaged=damaged) for item in pending)
            pending.clear()
        if (run_dir / "DONE").exists():
            # Orphans of a start that was hit before it spoke came to the end.
            yield from (Hit(*item, resumed=None, was_damaged=False) for item in pending)
            if fault is not None:
                yield Hit(fault, num_steps, None, was_damaged=False)
            return
        assert fault is not None, f"a start without a fault failed:\n{text[-3000:]}"
        assert was_hit, f"a start failed before its fault:\n{text[-3000:]}"
        reached = _last_step(run_dir)
        pending.append((damage_newest(fault, run_dir, draw), reached))
    raise AssertionError("the run does not come to its end")


def train_command(
    shards: Path, run_dir: Path, num_steps: int, changes: tuple[str, ...] = CHANGES
) -> list:
    """Return the command that trains so many steps on two ranks."""
    words = arguments(shards, run_dir, *changes, f"schedule.duration={num_steps} steps")
    return deepspeed_command(free_port(), *words)


def wait_for_checkpoint(process: subprocess.Popen, run_dir: Path) -> None:
    """Wait until a job has saved for the first time."""
    end = time.monotonic() + LIMIT_S
    while not (run_dir.exists() and list_checkpoints(run_dir)):
        assert process.poll() is None, "the run ended before its first checkpoint"
        assert time.monotonic() < end
        time.sleep(0.05)


def _processes_of(run_dir: Path) -> list[psutil.Process]:
    """Return whoever names the run on its command line: those of a dead parent are no children."""
    word = f"run.dir={run_dir}"
    # Of a zombie there is no command line any more.
    return [p for p in psutil.process_iter(["cmdline"]) if word in (p.info["cmdline"] or ())]


def _wait_for_all(run_dir: Path) -> list[str]:
    """Wait until nobody of the job is left; return who does not end by itself.

    Ranks whose runner died before they looked train to the end.
    """
    end = time.monotonic() + LIMIT_S
    while alive := _processes_of(run_dir):
        if time.monotonic() > end:
            return [f"{p.pid} {shlex.join(p.info['cmdline'][:6])}" for p in alive]
        time.sleep(0.1)
    return []


def _last_step(run_dir: Path) -> int:
    path = run_dir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    steps = [int(found[1]) for line in lines if (found := re.match(r'\{"step": (\d+),', line))]
    return max(steps, default=0)
