import os
import signal
import subprocess
import sys
import textwrap

import pytest

from retfm_dist import directories
from retfm_dist.directories import (
    RESULT_NAME,
    kept_workspace,
    replaced_directory,
    staged_directory,
    workspace_path,
)
from retfm_dist.errors import RetfmError


def listing(path):
    return sorted(entry.name for entry in path.iterdir())


def test_a_directory_appears_whole(tmp_path):
    out = tmp_path / "out"
    with staged_directory(out) as staging:
        (staging / "a").mkdir()
        (staging / "a" / "x").write_text("1")
        assert not out.exists()
    assert (out / "a" / "x").read_text() == "1"
    assert listing(tmp_path) == ["out"]


def test_a_failed_directory_leaves_nothing(tmp_path):
    def fail():
        with staged_directory(tmp_path / "out") as staging:
            (staging / "x").write_text("1")
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        fail()
    assert listing(tmp_path) == []


def test_an_existing_directory_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(RetfmError, match="out: already exists"), staged_directory(tmp_path / "out"):
        pass


def test_a_directory_that_appears_meanwhile_is_kept(tmp_path):
    out = tmp_path / "out"

    def race():
        with staged_directory(out):
            out.mkdir()
            (out / "theirs").write_text("1")

    with pytest.raises(RetfmError, match="already exists"):
        race()
    assert listing(tmp_path) == ["out"]
    assert listing(out) == ["theirs"]


def test_two_writers_do_not_mix(tmp_path):
    with staged_directory(tmp_path / "out") as staging:
        (staging / "x").write_text("1")
        with (
            pytest.raises(RetfmError, match="another process is writing it"),
            staged_directory(tmp_path / "out"),
        ):
            pass
    assert listing(tmp_path / "out") == ["x"]


def test_what_a_killed_writer_left_is_cleared(tmp_path):
    code = f"""
        import os, pathlib, signal
        from retfm_dist.directories import staged_directory
        with staged_directory(pathlib.Path({str(tmp_path / "out")!r})) as staging:
            (staging / "half").write_text("1")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=False, env=os.environ
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    with staged_directory(tmp_path / "out") as staging:
        (staging / "whole").write_text("1")
    assert listing(tmp_path / "out") == ["whole"]
    assert listing(tmp_path) == ["out"]


def test_a_workspace_is_kept_on_failure_and_becomes_the_result_on_success(tmp_path):
    out = tmp_path / "sets" / "a"

    def work_and_fail():
        with kept_workspace(out) as workspace:
            assert workspace == workspace_path(out)
            (workspace / RESULT_NAME).mkdir(exist_ok=True)
            with (workspace / "progress").open("a") as file:
                file.write("x")
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            work_and_fail()
    with kept_workspace(out) as workspace:
        assert (workspace / "progress").read_text() == "xx"
        (workspace / RESULT_NAME / "file").write_text("done")
    assert [path.name for path in out.parent.iterdir()] == ["a"]
    assert (out / "file").read_text() == "done"


def test_a_workspace_left_after_its_result_stands_is_removed(tmp_path):
    (tmp_path / "a").mkdir()
    workspace_path(tmp_path / "a").mkdir()
    with pytest.raises(RetfmError, match="already exists"), kept_workspace(tmp_path / "a"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_two_processes_do_not_share_a_workspace(tmp_path):
    with kept_workspace(tmp_path / "a") as workspace:
        (workspace / RESULT_NAME).mkdir()
        with pytest.raises(RetfmError, match="another process"), kept_workspace(tmp_path / "a"):
            pass


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_directory_is_replaced_as_a_whole_but_for_what_is_kept(
    tmp_path, monkeypatch, can_exchange
):
    if not can_exchange:
        monkeypatch.setattr(directories, "exchange", lambda first, second: False)
    target = tmp_path / "out"
    for number in (1, 2):
        with replaced_directory(target, keep=["cache"]) as new:
            (new / f"result{number}").write_text("x")
        if number == 1:
            (target / "cache").mkdir()
            (target / "cache" / "a").write_text("kept")
    assert {path.name for path in target.iterdir()} == {"result2", "cache"}
    assert (target / "cache" / "a").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_was_killed_after_the_exchange_keeps_its_cache(tmp_path):
    for name in ("out", ".out.new/cache"):
        (tmp_path / name).mkdir(parents=True)
    with replaced_directory(tmp_path / "out", keep=["cache"]):
        pass
    assert (tmp_path / "out" / "cache").is_dir()


def test_a_replacement_that_fails_changes_nothing(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")

    def fail():
        with replaced_directory(tmp_path / "out") as new:
            (new / "half").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("has_new", [True, False])
def test_renames_that_were_killed_between_two_are_brought_to_an_end(tmp_path, has_new):
    """Without an exchange: killed before the new directory had its name, or after."""
    out = tmp_path / "out"
    (tmp_path / ".out.old" / "cache").mkdir(parents=True)
    (tmp_path / ".out.old" / "result").write_text("old")
    if has_new:
        out.mkdir()
        (out / "result").write_text("new")

    def fail():
        with replaced_directory(out, keep=["cache"]):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (out / "result").read_text() == ("new" if has_new else "old")
    assert (out / "cache").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
