"""How much of its time a run spends on its steps while its ranks are killed again and again."""

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.fakes.jobs import arguments, members, torchrun_command
from tests.fakes.processes import LIMIT_S, environment, free_port
from tests.faults.drive import wait_for_checkpoint

TARGETS = ("0", "1", "ranks")
# Large enough that the steps, and not the loop around them, take the time.
CHANGES = (
    "model.embed_dim=384", "model.depth=12", "model.num_heads=6",
    "schedule.duration=10000000 steps", "checkpoint.every=auto", "log.every=20 steps",
    "log.reconstructions_every=0 steps", "tracking.mlflow=false",
)  # fmt: skip


def effective_time(
    shards: Path, run_dir: Path, *, fault_every_s: float, num_faults: int, seed: int
) -> tuple[float, list[float]]:
    """Kill ranks of a job under torchrun, one fault per stretch of time, and then stop it.

    Args:
        shards: The shard set.
        run_dir: Of the run.
        fault_every_s: Length of a stretch, s: three hours, scaled. What a start takes is not
            scaled, so that a short stretch asks for more than a long one.
        num_faults: How many.
        seed: Of the moments within the stretches, and of whom they hit.

    Returns:
        The effective-time ratio that the run logged last, and each time from a kill to the next
        write of metrics, s.

    Raises:
        AssertionError: The job did not go on by itself.
    """
    draw = random.Random(seed)
    failures = f"checkpoint.hours_between_failures={fault_every_s / 3600}"
    words = arguments(shards, run_dir, *CHANGES, failures)
    log_path = run_dir.with_suffix(".log")
    with log_path.open("w") as log:
        process = subprocess.Popen(
            torchrun_command(free_port(), *words, max_restarts=num_faults),
            env=environment(), stdout=log, stderr=log,
        )  # fmt: skip
    begun_at, gaps = time.monotonic(), []
    try:
        wait_for_checkpoint(process, run_dir)
        for number in range(num_faults):
            moment = begun_at + (number + draw.uniform(0.1, 0.9)) * fault_every_s
            time.sleep(max(0.0, moment - time.monotonic()))
            gaps.append(_kill(draw.choice(TARGETS), process, run_dir))
        time.sleep(max(0.0, begun_at + num_faults * fault_every_s - time.monotonic()))
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=LIMIT_S)
    finally:
        process.kill()
    assert "which is saved" in log_path.read_text(), log_path.read_text()[-3000:]
    last = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])
    return last["perf/effective_time_ratio"], gaps


def _kill(target: str, process: subprocess.Popen, run_dir: Path) -> float:
    """Kill a rank or both, and return how long the run wrote no metrics, s."""
    family = members(process)
    metrics = run_dir / "metrics.jsonl"
    killed_at, written_at = time.monotonic(), time.time()
    for name in ("0", "1") if target == "ranks" else (target,):
        victim = family[name]
        assert victim is not None
        try:
            victim.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue  # it had noticed the other's end
    # What another rank had yet to write of its last step is not the next start.
    while metrics.stat().st_mtime < written_at + 2:
        assert process.poll() is None, "the job did not go on"
        assert time.monotonic() - killed_at < LIMIT_S
        time.sleep(0.05)
    return time.monotonic() - killed_at
