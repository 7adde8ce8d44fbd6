import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retfm_dist.ranks.stopping import REQUEUE_EXIT_CODE, StopReason, StopRequest
from retfm_dist.ranks.world import Ranks


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def asked():
    """A request with a clock, and the exit codes it has left with."""
    codes, clock = [], Clock()
    return StopRequest(Ranks(), leave=codes.append, clock=clock), codes, clock


def test_nothing_to_save_means_leaving_at_once(asked):
    stop, codes, _ = asked
    assert not stop.reason
    stop.ask(StopReason.SIGUSR1)
    assert codes == [REQUEUE_EXIT_CODE]
    with stop.saving():
        pass
    stop.ask(StopReason.SIGTERM)
    assert len(codes) == 2


@pytest.mark.parametrize("reason", [r for r in StopReason if r])
def test_while_training_a_request_waits_for_the_step(asked, reason):
    stop, codes, _ = asked
    with stop.saving():
        stop.ask(reason)
        assert stop.reason == reason
        stop.hear()
    assert codes == []


def test_one_signal_from_two_senders_is_one_and_a_later_one_leaves(asked):
    stop, codes, clock = asked
    with stop.saving():
        stop.ask(StopReason.SIGTERM)
        clock.now += 0.2  # the group had it, and the launcher passes it on
        stop.ask(StopReason.SIGTERM)
        assert codes == []
        clock.now += 2
        stop.ask(StopReason.SIGTERM)
        stop.hear()
    assert codes == [REQUEUE_EXIT_CODE]


def test_a_warning_followed_by_the_end_does_not_cut_the_save_off(asked):
    """Slurm sends SIGUSR1 some minutes ahead, and SIGTERM at the end."""
    stop, codes, clock = asked
    with stop.saving():
        stop.ask(StopReason.SIGUSR1)
        stop.hear()
        clock.now += 60
        stop.ask(StopReason.SIGTERM)
        stop.ask(StopReason.LAUNCHER_GONE)
        assert stop.reason == StopReason.SIGTERM
    assert codes == []


def test_a_rank_that_was_asked_to_stop_and_loses_the_others_leaves(asked):
    stop, codes, _ = asked
    lost = RuntimeError("Connection closed by peer")
    with pytest.raises(RuntimeError, match="peer"), stop.saving():
        raise lost
    assert codes == []  # nobody asked: the failure is reported

    def lose_the_others():
        stop.ask(StopReason.SIGTERM)
        stop.hear()
        raise lost

    with pytest.raises(RuntimeError, match="peer"), stop.saving():
        lose_the_others()
    assert codes == [REQUEUE_EXIT_CODE]


def test_a_step_that_does_not_end_is_left(asked, monkeypatch):
    monkeypatch.setattr("retfm_dist.ranks.stopping._GRACE_S", 0.05)
    stop, codes, _ = asked
    with stop.saving():
        stop.ask(StopReason.SIGUSR1)  # comes early, so there is no hurry
        time.sleep(0.2)
        assert codes == []
        stop.ask(StopReason.SIGTERM)
        time.sleep(0.3)
    assert codes == [REQUEUE_EXIT_CODE]


def test_time_counts_from_the_start_of_the_process(asked):
    stop, _, clock = asked
    clock.now += 7.5
    assert stop.seconds == 7.5


PROCESS = """
import sys, time
from retfm_dist.ranks.stopping import StopRequest
from retfm_dist.ranks.world import Ranks
stop = StopRequest(Ranks())
stop.listen()
if sys.argv[1] == "before":
    print("ready", flush=True)
    time.sleep(60)
with stop.saving():
    print("ready", flush=True)
    while not stop.reason:
        time.sleep(0.01)
    stop.hear()
    print(stop.reason.name, flush=True)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
@pytest.mark.parametrize("moment", ["before", "while"])
def test_real_signals_are_taken_and_leave_no_traceback(name, moment):
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, moment],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=20)
    assert process.returncode == (REQUEUE_EXIT_CODE if moment == "before" else 0)
    assert out == ("" if moment == "before" else f"{name}\n")
    assert len(err.splitlines()) == 1
    assert name in err
