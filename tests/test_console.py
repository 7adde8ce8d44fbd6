import pytest

from retfm_dist.console import run_command, track
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
