"""What a test leaves running is ended after it."""

import subprocess
import sys

import psutil

from tests.fakes.leftovers import ending_what_it_starts

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""


def test_a_process_and_its_children_end_and_its_streams_are_closed():
    with ending_what_it_starts():
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True
        )
        child = psutil.Process(int(process.stdout.readline()))
    assert process.returncode == -9
    assert process.stdout.closed
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()


def test_one_that_has_ended_is_let_alone():
    with ending_what_it_starts():
        process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
        process.wait()
    assert process.returncode == 3
