"""Mapping over worker processes: ordered, bounded, and failing in clear words."""

import contextlib
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from retfm_dist.errors import ShardError, WorkerError
from retfm_dist.workers import map_in_order, usable_cores


def square(number):
    time.sleep(0.002 * (number % 3))
    return number * number


def fail(number):
    raise ShardError("no luck", got=number)


def die(number):
    os._exit(3)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(workers):
    assert list(map_in_order(square, range(40), workers=workers)) == [n * n for n in range(40)]


def test_tasks_are_drawn_as_results_are_taken():
    drawn = []

    def tasks():
        for number in range(100):
            drawn.append(number)
            yield number

    results = map_in_order(square, tasks(), workers=2)
    assert next(results) == 0
    assert len(drawn) <= 9
    results.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_pass_through(workers):
    with pytest.raises(ShardError, match="no luck; got 0"):
        list(map_in_order(fail, range(3), workers=workers))


def test_a_dead_worker_is_an_error():
    with pytest.raises(
        WorkerError,
        match="a worker process died; got the process ended with exit code 3; .*use fewer workers",
    ):
        list(map_in_order(die, range(3), workers=2))


def test_a_script_without_a_guard_is_told_of_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from retfm_dist.workers import map_in_order\nlist(map_in_order(abs, [1, 2], workers=2))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert re.search(
        r"WorkerError: a worker process does not start; got .* exit code 1; .*`if __name__ ==", last
    ), last


def misbehave(number):
    if number == 7:
        os._exit(9)
    if number == 11:
        time.sleep(60)
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_kills_or_holds_its_worker_costs_itself_alone(workers):
    results = list(
        map_in_order(misbehave, range(20), workers=workers, timeout_s=1.5, replace_lost=str)
    )
    lost = {
        7: "the process ended with exit code 9",
        11: "no result within 1.5 s",
        13: "the process ended with exit code -9",
    }
    assert results == [lost.get(number, number) for number in range(20)]


def test_workers_that_all_die_are_an_error_all_the_same():
    with pytest.raises(WorkerError, match="a worker process died"):
        list(map_in_order(die, range(100), workers=2, timeout_s=60, replace_lost=str))


def time_out(number):
    raise TimeoutError("of the function itself")


def test_a_timeout_of_the_function_passes_through():
    with pytest.raises(TimeoutError, match="of the function itself"):
        list(map_in_order(time_out, range(3), workers=2, timeout_s=60, replace_lost=str))


def test_there_is_a_core():
    assert usable_cores() >= 1


def send_much(number):
    return bytes([number % 251]) * 300_000


def test_kills_at_any_moment_cost_one_task_each_and_stop_nobody():
    """Also between a task and its receipt, and in the middle of a result that fills the pipe."""
    draw, kills, ended = random.Random(0), [], threading.Event()

    def kill_now_and_then():
        while not ended.wait(draw.uniform(0.1, 0.3)) and len(kills) < 7:
            workers = [p for p in psutil.Process().children() if "spawn_main" in str(p.cmdline())]
            if workers:
                kills.append(draw.choice(workers))
                kills[-1].kill()

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    lost = 0
    results = map_in_order(send_much, itertools.count(), workers=2, timeout_s=60, replace_lost=str)
    with contextlib.closing(results):
        for number, result in enumerate(results):
            if result != send_much(number):
                assert result == "the process ended with exit code -9"
                lost += 1
            if not killer.is_alive():
                break
    ended.set()
    killer.join()
    assert len(kills) == 7  # fewer than the starts that may fail in a row
    assert 0 < lost <= 7
    assert not any(process.is_running() for process in kills)


def test_an_abandoned_map_leaves_no_process():
    results = map_in_order(time.sleep, [0.0, *[600] * 20], workers=2)
    assert next(results) is None
    begun_at = time.monotonic()
    results.close()
    assert time.monotonic() - begun_at < 20
    assert not [p for p in psutil.Process().children() if "spawn_main" in str(p.cmdline())]
