"""Two hosts, as network namespaces, whose link is cut in the middle of a run and comes back."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retfm_dist.train.checkpoint.folder import find_checkpoint
from tests.fakes.checkpoints import bits_of
from tests.fakes.hosts import FIRST, Hosts, two_hosts
from tests.fakes.jobs import SCRIPT, arguments, pack_discs
from tests.fakes.processes import LIMIT_S, environment
from tests.faults.drive import CHANGES, run_straight, wait_for_checkpoint

pytestmark = pytest.mark.exhaustive

STEPS = 400
STALL_S = 8


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts() as found:
        if found is None:
            pytest.skip("no networks of one's own here")
        yield found


def start(hosts, shards: Path, run_dir: Path) -> list[subprocess.Popen]:
    """Start a rank on each host, as a scheduler does."""
    changes = (*CHANGES, f"schedule.duration={STEPS} steps", f"run.stall_timeout_s={STALL_S}")
    words = [sys.executable, SCRIPT, *arguments(shards, run_dir, *changes)]
    common = {"MASTER_ADDR": FIRST, "MASTER_PORT": "29577", "WORLD_SIZE": "2", "LOCAL_RANK": "0",
              "GLOO_SOCKET_IFNAME": "eth0"}  # fmt: skip
    return [
        subprocess.Popen(
            [*enter, *words], env={**environment(), **common, "RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank, enter in enumerate((hosts.first, hosts.second))
    ]  # fmt: skip


def test_a_cut_link_ends_both_hosts_and_the_same_command_goes_on(tmp_path, hosts):
    shards, run_dir = pack_discs(tmp_path), tmp_path / "run"
    run_straight(shards, tmp_path / "straight", num_steps=STEPS)
    ranks = start(hosts, shards, run_dir)
    wait_for_checkpoint(ranks[0], run_dir)
    hosts.set_link("down")
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
    hosts.set_link("up")
    ranks = start(hosts, shards, run_dir)
    outputs = [rank.communicate(timeout=LIMIT_S)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], outputs[0][-3000:]
    assert bits_of(find_checkpoint(run_dir)) == bits_of(find_checkpoint(tmp_path / "straight"))
