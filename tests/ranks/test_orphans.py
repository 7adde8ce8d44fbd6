"""Real processes: a launcher's tree is built, one process is killed, the worker must leave."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from retfm_dist.ranks.orphans import (
    Ancestors,
    find_ancestors,
    is_launcher,
    is_runner,
    lost_ancestor,
    stop_when_orphaned,
)
from retfm_dist.ranks.stopping import REQUEUE_EXIT_CODE, StopRequest
from retfm_dist.ranks.world import Ranks

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

WORKER = """
import os, time
from retfm_dist.ranks.orphans import find_ancestors, stop_when_orphaned
from retfm_dist.ranks.stopping import StopRequest
from retfm_dist.ranks.world import Ranks
stop_when_orphaned(StopRequest(Ranks()))
found = find_ancestors()
print(os.getpid(), os.getppid(), found.launcher or 0, found.runner or 0, flush=True)
time.sleep(600)
"""
# Runs its arguments with Python as its child, and waits for it.
PARENT = """
import subprocess, sys
raise SystemExit(subprocess.call([sys.executable, *sys.argv[1:]]))
"""


@dataclasses.dataclass
class Tree:
    """A worker, its parent and its grandparent, and which of them the worker watches."""

    grandparent: subprocess.Popen
    parent: int
    worker: int
    launcher: int
    runner: int


@pytest.fixture
def plant(tmp_path):
    """Start grandparent -> parent -> worker, the first two called as asked."""
    # A stand-in package, found before the real one, so that the real module name can be run.
    package = tmp_path / "deepspeed" / "launcher"
    package.mkdir(parents=True)
    for directory in (package, package.parent):
        (directory / "__init__.py").touch()
    (package / "launch.py").write_text(PARENT)
    (tmp_path / "bin").mkdir()
    for name in ("deepspeed", "torchrun", "shell"):
        (tmp_path / "bin" / name).write_text(PARENT)
    (tmp_path / "worker.py").write_text(WORKER)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    trees = []

    def start(grandparent, *parent):
        words = [sys.executable, tmp_path / "bin" / grandparent, *parent, tmp_path / "worker.py"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        worker, its_parent, launcher, runner = map(int, process.stdout.readline().split())
        trees.append(Tree(process, its_parent, worker, launcher, runner))
        return trees[-1]

    yield start
    for tree in trees:
        for pid in (tree.worker, tree.parent):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        tree.grandparent.kill()
        tree.grandparent.wait()
        tree.grandparent.stdout.close()


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def leaves(pid, *, within_s):
    deadline = time.monotonic() + within_s
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_alive(pid)


LAUNCH = ("-m", "deepspeed.launcher.launch")


def test_a_worker_leaves_when_its_launcher_dies(plant, tmp_path):
    tree = plant("deepspeed", *LAUNCH)
    assert (tree.launcher, tree.runner) == (tree.parent, tree.grandparent.pid)
    assert not leaves(tree.worker, within_s=1.0)
    os.kill(tree.launcher, signal.SIGKILL)
    assert leaves(tree.worker, within_s=3.0)


def test_a_worker_leaves_when_the_runner_dies_and_so_does_the_launcher(plant):
    tree = plant("deepspeed", *LAUNCH)
    tree.grandparent.kill()
    tree.grandparent.wait()
    assert leaves(tree.worker, within_s=3.0)
    assert leaves(tree.launcher, within_s=3.0)


def test_a_worker_of_torchrun_watches_it_alone(plant, tmp_path):
    tree = plant("shell", tmp_path / "bin" / "torchrun")
    assert (tree.launcher, tree.runner) == (tree.parent, 0)
    tree.grandparent.kill()
    tree.grandparent.wait()
    assert not leaves(tree.worker, within_s=1.5)
    os.kill(tree.parent, signal.SIGKILL)
    assert leaves(tree.worker, within_s=3.0)


def test_a_shell_that_exits_ends_nothing(plant, tmp_path):
    tree = plant("shell", tmp_path / "bin" / "shell")
    assert (tree.launcher, tree.runner) == (0, 0)
    tree.grandparent.kill()
    os.kill(tree.parent, signal.SIGKILL)
    assert not leaves(tree.worker, within_s=1.5)


def test_the_exit_code_tells(monkeypatch):
    ended = threading.Event()
    codes = []

    def leave(code):
        codes.append(code)
        ended.set()

    gone = Ancestors(launcher=1 << 22, runner=None)
    monkeypatch.setattr("retfm_dist.ranks.orphans.find_ancestors", lambda: gone)
    stop_when_orphaned(StopRequest(Ranks(), leave=leave))
    assert ended.wait(5)
    assert codes == [REQUEUE_EXIT_CODE]


def test_an_ancestor_is_lost_when_another_has_taken_its_place():
    parent = os.getppid()
    assert find_ancestors() == Ancestors(None, None)  # no launcher started these tests
    assert lost_ancestor(Ancestors(None, None)) is None
    assert lost_ancestor(Ancestors(parent, None)) is None
    assert lost_ancestor(Ancestors(parent + 1, None)) == parent + 1
    assert lost_ancestor(Ancestors(parent, 1 << 22)) == 1 << 22


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/venv/bin/python3", "/venv/bin/deepspeed", "--num_gpus", "8", "train.py"], True),
        (["python", "-m", "deepspeed.launcher.runner", "train.py"], True),
        (["bash", "-c", "python -m deepspeed.launcher.launch"], False),
        (["nohup", "sh"], False),
        ([], False),
    ],
)
def test_only_deepspeeds_own_runner_counts(arguments, expected):
    assert is_runner(arguments) is expected
    assert not is_launcher(arguments)
