import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from retfm_dist.ranks.heartbeat import STALLED_EXIT_CODE, Heartbeat
from retfm_dist.ranks.world import Ranks


@pytest.fixture
def stalls():
    """What is told of stalls."""
    return []


@pytest.fixture
def beating(monkeypatch, stalls):
    """Start heartbeats of as many ranks in this process, ten times as fast as real ones."""
    monkeypatch.setattr("retfm_dist.ranks.heartbeat._INTERVAL_S", 0.1)
    monkeypatch.setattr("retfm_dist.ranks.heartbeat._FLUSH_S", 0.0)
    monkeypatch.setattr("retfm_dist.ranks.stalls._SILENT_S", 1.5)
    begun = []

    def start(world_size, *, timeout_s):
        left = {}
        for rank in range(world_size):
            ranks = Ranks(rank=rank, world_size=world_size)
            leave = lambda code, rank=rank: left.setdefault(rank, code)  # noqa: E731
            begun.append(Heartbeat(ranks, timeout_s=timeout_s, leave=leave))
        ours = begun[-world_size:]
        for heartbeat in ours:
            heartbeat.start([other.peer for other in ours], on_stall=stalls.append)
        return ours, left

    yield start
    for heartbeat in begun:
        heartbeat.close()


def wait_for(is_so, *, within_s=20.0):
    deadline = time.monotonic() + within_s
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_so()


def test_ranks_that_make_progress_go_on(beating):
    ours, left = beating(3, timeout_s=2.0)
    for step in range(50):
        for heartbeat in ours:
            heartbeat.note(step, "computing")
        time.sleep(0.06)
    assert left == {}


@pytest.mark.parametrize("slow", [0, 2])
def test_the_rank_that_stands_still_is_named_and_all_leave(beating, slow, caplog, stalls):
    ours, left = beating(3, timeout_s=2.0)
    for heartbeat in ours:
        # All wait for the slow one, which has not finished step 4.
        heartbeat.note(4 if heartbeat is ours[slow] else 5, "computing")
    with caplog.at_level(logging.ERROR):
        assert wait_for(lambda: len(left) == 3)
    assert set(left.values()) == {STALLED_EXIT_CODE}
    line = caplog.records[0].getMessage()
    assert line.startswith(f"rank {slow} on ")
    assert "step 4, computing" in line
    assert [(beat.rank, beat.step, beat.doing) for beat in stalls] == [(slow, 4, "computing")]


def test_datagrams_of_strangers_are_not_listened_to(beating):
    ours, left = beating(2, timeout_s=60)
    target = ("127.0.0.1", ours[0].peer.port)
    for data in (b"", b"\xff", b"[]", b'{"stalled": [0]}', b'{"token": "x", "stalled": [0]}'):
        ours[1]._socket.sendto(data, target)
    time.sleep(0.5)
    assert left == {}
    assert len({heartbeat.peer.token for heartbeat in ours}) == 2


def test_a_stopped_process_of_this_host_is_killed(beating):
    stopped = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    os.kill(stopped.pid, signal.SIGSTOP)
    ours, left = beating(2, timeout_s=2.0)
    assert wait_for(lambda: 1 in ours[0]._heard)
    ours[1]._closed.set()  # it says nothing any more
    ours[0]._peers = (
        ours[0].peer,
        type(ours[1].peer)(**{**vars(ours[1].peer), "pid": stopped.pid}),
    )
    for _ in range(80):
        ours[0].note(3, "computing")
        time.sleep(0.05)
    assert wait_for(lambda: 0 in left)
    assert stopped.wait(timeout=10) == -signal.SIGKILL
