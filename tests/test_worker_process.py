"""One process behind its pipe: results, errors, losses and its end."""

import os
import signal
import sys
import threading
import time

import psutil
import pytest

from retfm_dist.worker_process import (
    LostTaskError,
    NotStartedError,
    StoppedError,
    WorkerProcess,
)


class FussyError(Exception):
    """Pickles, and cannot be built again from what was pickled."""

    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")


def act(task):
    name, value = task
    if name == "return":
        return value
    if name == "pid":
        return os.getpid()
    if name == "exit":
        sys.exit(value)
    if name == "sleep":
        time.sleep(value)
    if name == "kill":
        os.kill(os.getpid(), value)
    if name == "lambda":
        return lambda: value
    if name == "fussy":
        raise FussyError("one", "other")
    raise KeyError(value)


@pytest.fixture
def start():
    workers = []

    def make(timeout_s=None):
        workers.append(WorkerProcess(act, timeout_s))
        return workers[-1]

    yield make
    for worker in workers:
        worker.stop()
        worker.close()


def test_one_process_answers_task_after_task(start):
    worker = start()
    assert worker.run(("return", b"x" * 1_000_000)) == b"x" * 1_000_000
    pid = worker.run(("pid", None))
    assert pid == worker.run(("pid", None)) != os.getpid()


def test_an_exception_brings_its_traceback_and_costs_no_process(start):
    worker = start()
    pid = worker.run(("pid", None))
    with pytest.raises(KeyError, match="lost key") as caught:
        worker.run(("raise", "lost key"))
    assert "in act\n    raise KeyError(value)" in str(caught.value.__cause__)
    with pytest.raises(RuntimeError, match="FussyError: one and other"):
        worker.run(("fussy", None))
    with pytest.raises(Exception, match="pickle"):
        worker.run(("lambda", 1))
    with pytest.raises(Exception, match="pickle"):
        worker.run(("return", lambda: 1))
    assert worker.run(("pid", None)) == pid


@pytest.mark.parametrize(
    ("task", "code"), [(("exit", 5), 5), (("exit", 0), 0), (("kill", signal.SIGKILL), -9)]
)
def test_a_process_that_ends_is_told_with_its_code_and_replaced(start, task, code):
    worker = start()
    pid = worker.run(("pid", None))
    with pytest.raises(LostTaskError, match=rf"^the process ended with exit code {code}$"):
        worker.run(task)
    assert worker.run(("pid", None)) != pid


def test_a_task_that_takes_too_long_is_killed_and_its_start_is_not_counted(start):
    worker = start(timeout_s=0.3)  # less than a process takes to start
    pid = worker.run(("pid", None))
    begun_at = time.monotonic()
    with pytest.raises(LostTaskError, match=r"^no result within 0\.3 s$"):
        worker.run(("sleep", 600))
    assert time.monotonic() - begun_at < 20
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_that_was_killed_while_idle_costs_no_task(start):
    worker = start()
    process = psutil.Process(worker.run(("pid", None)))
    process.kill()
    psutil.wait_procs([process], timeout=10)
    assert worker.run(("return", 2)) == 2


def test_stop_ends_a_run_of_another_thread_and_refuses_the_next(start):
    worker, errors = start(), []
    worker.run(("return", 1))

    def run():
        try:
            worker.run(("sleep", 600))
        except LostTaskError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.2)
    worker.stop()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert len(errors) == 1
    with pytest.raises(StoppedError):
        worker.run(("return", 1))


def test_a_start_that_a_signal_ended_is_tried_again(start, monkeypatch):
    worker, spawned = start(), []
    spawn = worker._spawn

    def spawn_and_kill():
        process, pipe = spawn()
        spawned.append(process.pid)
        if len(spawned) < num_kills:
            process.kill()
        return process, pipe

    monkeypatch.setattr(worker, "_spawn", spawn_and_kill)
    num_kills = 8
    assert worker.run(("return", 1)) == 1
    assert len(spawned) == 8
    worker.run(("pid", None))
    with pytest.raises(LostTaskError):
        worker.run(("exit", 1))
    num_kills = 99
    with pytest.raises(NotStartedError, match="exit code -9"):
        worker.run(("return", 1))
    assert len(spawned) == 16


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.1, 0.2])
def test_signals_to_the_whole_group_are_the_parents(start, monkeypatch, capfd, number, delay_s):
    worker = start()
    spawn = worker._spawn

    def spawn_and_signal():
        process, pipe = spawn()
        time.sleep(delay_s)
        os.kill(process.pid, number)
        return process, pipe

    monkeypatch.setattr(worker, "_spawn", spawn_and_signal)
    assert worker.run(("return", 1)) == 1
    os.kill(worker.run(("pid", None)), number)
    assert worker.run(("return", 2)) == 2
    assert capfd.readouterr().err == ""


def test_no_process_to_be_had_is_told_in_the_systems_words(start, monkeypatch):
    worker = start()

    def refuse(self):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", refuse)
    with pytest.raises(NotStartedError, match="Resource temporarily unavailable"):
        worker.run(("return", 1))
