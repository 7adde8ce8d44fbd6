import os
import subprocess
import sys
import time

import pytest

from retfm_dist.errors import TrainError
from retfm_dist.train.run_lock import hold_run_lock

HOLDER = """
import sys, time
from pathlib import Path
from retfm_dist.train.run_lock import hold_run_lock
with hold_run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / ".lock")], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_lock_names_its_holder_and_can_be_taken_again(tmp_path):
    for _ in range(2):
        with hold_run_lock(tmp_path / "run" / ".lock"):
            assert (tmp_path / "run" / ".lock").read_text() == f"{os.getpid()}\n"


def test_a_second_process_waits_and_then_gives_up_naming_the_first(tmp_path, holder):
    waits = []
    clock = iter(float(second) for second in range(100))
    with (
        pytest.raises(TrainError, match=f"another process trains .*got process {holder.pid};"),
        hold_run_lock(
            tmp_path / ".lock", wait_s=5.0, clock=lambda: next(clock), sleep=waits.append
        ),
    ):
        pass
    assert len(waits) == 4


def test_the_lock_goes_with_a_killed_holder(tmp_path, holder):
    def kill_then_wait(seconds):
        holder.kill()
        time.sleep(seconds / 10)

    with hold_run_lock(tmp_path / ".lock", wait_s=20.0, sleep=kill_then_wait):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(TrainError, match="cannot write to the run directory; got .*"),
        hold_run_lock(tmp_path / "file" / "run" / ".lock"),
    ):
        pass
