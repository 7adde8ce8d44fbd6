"""Jobs under torchrun with faults that pass and faults that stay: does the verdict fit?"""

import json
import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from retfm_dist.train.checkpoint.folder import find_checkpoint
from tests.fakes.checkpoints import bits_of
from tests.fakes.jobs import arguments, torchrun_command
from tests.fakes.processes import LIMIT_S, environment, free_port
from tests.faults import faulty_pretrain
from tests.faults.faulty_pretrain import VARIABLE, Blow

STEPS = 12
MAX_RESTARTS = 5
KINDS = ("error", "out of memory", "killed", "segmentation fault", "stopped", "disk")
LOST = ("killed", "segmentation fault", "stopped")
"""Kinds that leave no note: the other rank only notices that this one has gone."""
_EVERY = 3
CHANGES = (
    f"schedule.duration={STEPS} steps", f"checkpoint.every={_EVERY} steps", "checkpoint.keep_last=2",
    "log.every=1 steps", "log.reconstructions_every=0 steps", "tracking.mlflow=false",
    "run.stall_timeout_s=10",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A job, what befell it, and what came of it.

    Attributes:
        blows: The faults.
        pattern: "once", "moving", "changing" or "staying".
        expected: Numbers of starts after which it may be stopped; None where it must come to its
            end.
        num_starts: How often it was started.
        outcome: "finished", "stopped with its reason" or the end of its output.
    """

    blows: tuple[Blow, ...]
    pattern: str
    expected: tuple[int, ...] | None
    num_starts: int = 0
    outcome: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the verdict fits."""
        if self.expected is None:
            return self.outcome == "finished"
        return self.outcome == "stopped with its reason" and self.num_starts in self.expected

    def __str__(self) -> str:
        kinds = " then ".join(dict.fromkeys(blow.kind for blow in self.blows))
        where = f"{kinds} of rank {self.blows[0].rank} from step {self.blows[0].step}"
        return f"{self.pattern}: {where}; {self.num_starts} starts, {self.outcome}"


def draw_job(draw: random.Random, *, stays: bool) -> Job:
    """Draw faults that stay, or that pass."""
    kind, rank, step = draw.choice(KINDS), draw.randrange(2), draw.randint(1, STEPS - 1)
    if stays:
        blows = tuple(Blow(attempt, rank, step, kind) for attempt in range(MAX_RESTARTS + 1))
        # A refusal is a start, too. One lost while a checkpoint is written may have made it.
        late = (5,) if step % _EVERY == 0 else ()
        # Where nothing can be written, not even a note, another rank may have heard of the error.
        expected = {**dict.fromkeys(LOST, (4, *late)), "disk": (3, 4, *late)}
        return Job(blows, "staying", expected.get(kind, (3,)))
    pattern = draw.choice(("once", "moving", "changing"))
    if pattern == "once":
        return Job((Blow(0, rank, step, kind),), pattern, None)
    if pattern == "moving":
        steps = sorted(draw.sample(range(1, STEPS), 2))
        return Job(tuple(Blow(n, rank, at, kind) for n, at in enumerate(steps)), pattern, None)
    kinds = (draw.choice(("error", "out of memory")), draw.choice(LOST))
    return Job(tuple(Blow(n, rank, step, name) for n, name in enumerate(kinds)), pattern, None)


def run_job(job: Job, shards: Path, run_dir: Path) -> Job:
    """Run a job to its end and return it with what came of it."""
    words = arguments(shards, run_dir, *CHANGES)
    script = Path(faulty_pretrain.__file__)
    done = subprocess.run(
        torchrun_command(free_port(), *words, max_restarts=MAX_RESTARTS, script=script),
        env=environment() | {VARIABLE: json.dumps([asdict(blow) for blow in job.blows])},
        capture_output=True, text=True, timeout=2 * LIMIT_S,
    )  # fmt: skip
    stopped = re.search("stopped instead of starting again: .* attempts in a row", done.stderr)
    if done.returncode == 0 and (run_dir / "DONE").exists():
        outcome = "finished"
    elif done.returncode != 0 and stopped and not (run_dir / "DONE").exists():
        outcome = "stopped with its reason"
    else:
        outcome = f"ended with {done.returncode}: {done.stderr[-3000:]}"
    num_starts = len(re.findall("starting from ", done.stderr))
    return Job(job.blows, job.pattern, job.expected, num_starts, outcome)


def run_jobs(shards: Path, folder: Path, *, seed: int, num_jobs: int) -> Iterator[Job]:
    """Run jobs one after another, every second one with a fault that stays.

    Args:
        shards: The shard set.
        folder: Where the runs are; holds the undisturbed one of `STEPS` steps as `straight`.
        seed: Of the faults.
        num_jobs: How many.

    Raises:
        AssertionError: A run that came to its end ended with other bits.
    """
    draw = random.Random(seed)
    expected = bits_of(find_checkpoint(folder / "straight"))
    for number in range(num_jobs):
        run_dir = folder / f"job_{number}"
        job = run_job(draw_job(draw, stays=number % 2 == 1), shards, run_dir)
        if job.outcome == "finished":
            assert bits_of(find_checkpoint(run_dir)) == expected, f"{job}: other bits"
        yield job
