"""Two hosts, as network namespaces, whose link is cut in the middle of a run and comes back."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retfm_dist.train.checkpoint.folder import find_checkpoint
from tests.fakes.checkpoints import bits_of
from tests.fakes.jobs import SCRIPT, arguments, pack_discs
from tests.fakes.processes import LIMIT_S, environment
from tests.faults.drive import CHANGES, run_straight, wait_for_checkpoint

pytestmark = pytest.mark.exhaustive

STEPS = 400
STALL_S = 8
_FIRST, _SECOND = "10.77.0.1", "10.77.0.2"
_LAY_OUT = f"""
ip link set lo up
hostname first-host
unshare --net --uts sh -c 'hostname second-host; exec sleep 900' &
second=$!
sleep 0.5
ip link add eth0 type veth peer name eth0 netns $second
ip addr add {_FIRST}/24 dev eth0 && ip link set eth0 up
nsenter --net --target $second sh -c \\
    "ip link set lo up; ip addr add {_SECOND}/24 dev eth0; ip link set eth0 up" && echo $second
exec sleep 900
"""


@pytest.fixture
def hosts() -> Iterator[list[list[str]]]:
    """How to start a command on either host."""
    holder = subprocess.Popen(
        ["unshare", "--map-root-user", "--net", "--uts", "--kill-child", "sh", "-c", _LAY_OUT],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    second = ""
    try:
        assert holder.stdout is not None
        second = holder.stdout.readline().strip()
        if not second:
            pytest.skip("no networks of one's own here")
        enter = ["nsenter", "--user", "--net", "--uts", "--preserve-credentials", "--target"]
        yield [[*enter, str(holder.pid)], [*enter, second]]
    finally:
        if second:
            subprocess.run(["kill", second], check=False)
        holder.kill()
        holder.communicate()


def start(hosts, shards: Path, run_dir: Path) -> list[subprocess.Popen]:
    """Start a rank on each host, as a scheduler does."""
    changes = (*CHANGES, f"schedule.duration={STEPS} steps", f"run.stall_timeout_s={STALL_S}")
    words = [sys.executable, SCRIPT, *arguments(shards, run_dir, *changes)]
    common = {"MASTER_ADDR": _FIRST, "MASTER_PORT": "29577", "WORLD_SIZE": "2", "LOCAL_RANK": "0",
              "GLOO_SOCKET_IFNAME": "eth0"}  # fmt: skip
    return [
        subprocess.Popen(
            [*enter, *words], env={**environment(), **common, "RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank, enter in enumerate(hosts)
    ]  # fmt: skip


def test_a_cut_link_ends_both_hosts_and_the_same_command_goes_on(tmp_path, hosts):
    shards, run_dir = pack_discs(tmp_path), tmp_path / "run"
    run_straight(shards, tmp_path / "straight", num_steps=STEPS)
    ranks = start(hosts, shards, run_dir)
    wait_for_checkpoint(ranks[0], run_dir)
    subprocess.run([*hosts[0], "ip", "link", "set", "eth0", "down"], check=True)
    cut_at = time.monotonic()
    outputs = [rank.communicate(timeout=LIMIT_S)[0] for rank in ranks]
    assert time.monotonic() - cut_at < 60 + STALL_S
    for rank, output, other in zip(
        ranks, outputs, ("rank 1 on second-host", "rank 0 on first-host"), strict=True
    ):
        assert rank.returncode != 0, output[-3000:]
        assert f"{other} has made no progress" in output, output[:3000]
        assert "its host or link has gone" in output, output[:3000]
        assert "Traceback" not in output, output[-3000:]
    subprocess.run([*hosts[0], "ip", "link", "set", "eth0", "up"], check=True)
    ranks = start(hosts, shards, run_dir)
    outputs = [rank.communicate(timeout=LIMIT_S)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], outputs[0][-3000:]
    assert bits_of(find_checkpoint(run_dir)) == bits_of(find_checkpoint(tmp_path / "straight"))
