"""Two hosts with an sshd each, started through pdsh, whose link is cut in the middle of a run."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from retfm_dist.train.checkpoint.folder import find_checkpoint
from tests.fakes.checkpoints import bits_of
from tests.fakes.hosts import FIRST, SECOND, can_use_pdsh, ssh_between, two_hosts
from tests.fakes.jobs import SCRIPT, arguments, pack_discs
from tests.fakes.processes import LIMIT_S, environment, free_port
from tests.faults.drive import CHANGES, run_straight, wait_for_checkpoint

pytestmark = pytest.mark.exhaustive

STEPS = 400
STALL_S = 8


@pytest.mark.skipif(not can_use_pdsh(), reason="needs root, sshd and pdsh")
def test_a_host_that_is_cut_off_is_named_and_the_same_command_goes_on(tmp_path):
    shards, run_dir = pack_discs(tmp_path), tmp_path / "run"
    run_straight(shards, tmp_path / "straight", num_steps=STEPS)
    (tmp_path / "hostfile").write_text(f"{FIRST} slots=1\n{SECOND} slots=1\n")
    # What DeepSpeed does not pass on by itself; see docs/clusters.md.
    (tmp_path / ".deepspeed_env").write_text(
        "DS_ACCELERATOR=cpu\nOMP_NUM_THREADS=1\nGLOO_SOCKET_IFNAME=eth0\n"
    )
    changes = (*CHANGES, f"schedule.duration={STEPS} steps", f"run.stall_timeout_s={STALL_S}")
    with two_hosts(as_root=True) as hosts:
        if hosts is None:
            pytest.skip("no networks of one's own here")
        with ssh_between(hosts, tmp_path) as variables:

            def start() -> subprocess.Popen:
                command = [
                    *hosts.first, Path(sys.executable).with_name("deepspeed"),
                    "--hostfile", tmp_path / "hostfile", "--master_addr", FIRST,
                    "--master_port", str(free_port()), SCRIPT, *arguments(shards, run_dir, *changes),
                ]  # fmt: skip
                path = f"{variables['PATH']}{os.pathsep}{environment()['PATH']}"
                return subprocess.Popen(
                    command, env={**environment(), **variables, "PATH": path}, cwd=tmp_path,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                )  # fmt: skip

            job = start()
            wait_for_checkpoint(job, run_dir)
            hosts.set_link("down")
            cut_at = time.monotonic()
            output, _ = job.communicate(timeout=LIMIT_S)
            took_s = time.monotonic() - cut_at
            assert job.returncode != 0, output[-3000:]
            assert took_s < 60 + STALL_S
            assert "rank 1 on second-host has made no progress" in output, output[-3000:]
            assert "its host or link has gone" in output, output[-3000:]
            wait_for_nobody(run_dir)
            hosts.set_link("up")
            job = start()
            output, _ = job.communicate(timeout=LIMIT_S)
            assert job.returncode == 0, output[-3000:]
    assert bits_of(find_checkpoint(run_dir)) == bits_of(find_checkpoint(tmp_path / "straight"))


def wait_for_nobody(run_dir: Path) -> None:
    """Wait until no process of the run is left on either host."""
    end = time.monotonic() + 60
    while left := [p for p in psutil.process_iter(["cmdline"]) if is_of(p, run_dir)]:
        assert time.monotonic() < end, f"left behind: {left}"
        time.sleep(0.2)


def is_of(process: psutil.Process, run_dir: Path) -> bool:
    words = process.info["cmdline"] or []
    return any(f"run.dir={run_dir}" in word for word in words)
