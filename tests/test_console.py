import logging
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from retfm_dist import console
from retfm_dist.console import interruptible, run_command, track
from retfm_dist.errors import ShardError


def fail():
    raise ShardError("no manifest", where="shards/x")


def interrupt():
    raise KeyboardInterrupt


def test_a_mistake_is_one_line_and_exit_code_1(capsys):
    with pytest.raises(SystemExit) as exit_info:
        run_command(fail)
    assert exit_info.value.code == 1
    assert capsys.readouterr().err == "error: shards/x: no manifest\n"


def test_an_interrupt_has_its_own_exit_code(capsys):
    with pytest.raises(SystemExit) as exit_info:
        run_command(interrupt)
    assert exit_info.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_success_returns():
    run_command(lambda: None)


def test_our_own_defects_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0)


def test_no_bar_is_drawn_when_stderr_is_no_terminal(capsys):
    assert list(track(range(3), description="packing")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_what_the_system_refuses_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as exit_info:
        run_command(lambda: (tmp_path / "file" / "out").mkdir(parents=True))
    assert exit_info.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith(
        f"error: {tmp_path}/file/out: cannot be read or written; got Not a dir"
    )
    assert message.count("\n") == 1


def test_an_error_of_a_library_keeps_its_traceback():
    def fail():
        raise OSError("no number, no file: not the system's")

    with pytest.raises(OSError, match="no number"):
        run_command(fail)


@pytest.mark.parametrize("num_lines", [3, 100_000])
def test_a_reader_that_ends_early_is_no_error(num_lines):
    code = (
        "from retfm_dist.console import run_command; "
        f"run_command(lambda: print(*range({num_lines}), sep='\\n'))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruptible_work_ends_with_a_note_after_cleaning_up(capsys, how, code):
    cleaned = []
    before = signal.getsignal(signal.SIGTERM)

    @interruptible("the work goes on later")
    def work():
        try:
            os.kill(os.getpid(), how)
            signal.pause()
        finally:
            cleaned.append(how)

    with pytest.raises(SystemExit) as exit_info:
        work()
    assert exit_info.value.code == code
    assert cleaned == [how]
    assert capsys.readouterr().err == "interrupted; the work goes on later\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_progress_is_logged_now_and_then_where_there_is_no_terminal(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    moments = iter([0.0, 1.0, 59.0, 61.0, 62.0, 130.0])
    # Not time.monotonic itself, which other threads call, too.
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    assert list(track(range(5), description="packing", total=5)) == list(range(5))
    assert [record.getMessage() for record in caplog.records] == [
        "packing: 2 of 5 (40.0%), 2 min left, 0.0/s", "packing: 4 of 5 (80.0%), 1 min left, 0.0/s",
    ]  # fmt: skip
