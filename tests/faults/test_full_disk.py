"""A disk that is full in the middle of a run, and has room again: on a file system of its own."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from retfm_dist.train.checkpoint.folder import find_checkpoint
from tests.fakes.checkpoints import bits_of
from tests.fakes.jobs import pack_discs
from tests.fakes.processes import LIMIT_S, environment
from tests.faults.drive import run_straight, train_command, wait_for_checkpoint

pytestmark = pytest.mark.exhaustive

STEPS = 200
_DISK_MB = 24


@pytest.fixture
def small_disk(tmp_path) -> Iterator[tuple[list[str], Path, Path]]:
    """How to start a command that sees the disk, where it is for that, and where for this test."""
    place = tmp_path / "disk"
    place.mkdir()
    script = f"mount -t tmpfs -o size={_DISK_MB}m tmpfs {place} && echo ready && exec sleep 900"
    holder = subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", script],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        if holder.stdout is None or holder.stdout.readline() != "ready\n":
            pytest.skip("no file systems of one's own here")
        pid = str(holder.pid)
        enter = ["nsenter", "--user", "--mount", "--preserve-credentials", "--target", pid]
        yield enter, place, Path(f"/proc/{pid}/root{place}")
    finally:
        holder.kill()
        holder.communicate()


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))


def test_a_full_disk_ends_the_run_in_one_message_and_costs_no_step_twice(tmp_path, small_disk):
    enter, place, view = small_disk
    shards = pack_discs(tmp_path)
    run_straight(shards, tmp_path / "straight", num_steps=STEPS)
    command = [*enter, *train_command(shards, place / "run", STEPS)]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_for_checkpoint(process, view / "run")
    fill(view / "filler")
    output, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode != 0, output[-3000:]
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, output[-3000:]
    assert errors[0].startswith(f"error: {place}/run/"), errors
    assert "No space left" in errors[0], errors
    assert "Traceback" not in output, output[-3000:]
    (view / "filler").unlink()
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert bits_of(find_checkpoint(view / "run")) == bits_of(find_checkpoint(tmp_path / "straight"))
