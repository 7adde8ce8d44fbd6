import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import textwrap

import pytest

from retfm_dist import durable
from retfm_dist.durable import (
    RESULT_NAME,
    kept_workspace,
    open_atomic,
    replaced_directory,
    sha256_file,
    staged_directory,
    workspace_path,
    write_json,
)
from retfm_dist.errors import RetfmError


def listing(path):
    return sorted(entry.name for entry in path.iterdir())


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "a" / "x.txt"
    with open_atomic(path, "w") as file:
        file.write("hello\n")
        assert not path.exists()
    assert path.read_text() == "hello\n"
    assert listing(path.parent) == ["x.txt"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")

    def write_half():
        with open_atomic(path, "w") as file:
            file.write("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["x"]


def test_json_is_reproducible_and_strict(tmp_path):
    write_json(tmp_path / "a", {"b": 1, "a": [1.5, None]})
    write_json(tmp_path / "b", {"a": [1.5, None], "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "c", float("nan"))
    assert listing(tmp_path) == ["a", "b"]


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x").startswith("ba7816bf8f01cfea")


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
        from retfm_dist.durable import staged_directory
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


def test_a_file_system_without_locks_is_a_warning_and_no_refusal(tmp_path, monkeypatch, caplog):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with staged_directory(tmp_path / "out") as staging:
        (staging / "x").write_text("1")
    assert listing(tmp_path) == ["out"]
    assert "file locks are not supported" in caplog.text


def test_a_failing_lock_is_not_taken_for_another_process(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError, match="Input/output error"), staged_directory(tmp_path / "out"):
        pass


def test_the_locked_file_is_open_for_writing_as_network_file_systems_ask(tmp_path, monkeypatch):
    modes = []

    def flock(descriptor, operation):
        modes.append(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE)

    monkeypatch.setattr("fcntl.flock", flock)
    with staged_directory(tmp_path / "out"):
        pass
    assert modes == [os.O_RDWR]


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


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_flush_directories_is_no_failure(tmp_path, monkeypatch, code):
    real = durable.os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, "not here")
        real(descriptor)

    monkeypatch.setattr(durable.os, "fsync", fsync)
    write_json(tmp_path / "a.json", {})
    assert (tmp_path / "a.json").read_text() == "{}\n"


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_directory_is_replaced_as_a_whole_but_for_what_is_kept(
    tmp_path, monkeypatch, can_exchange
):
    if not can_exchange:
        monkeypatch.setattr(durable, "exchange", lambda first, second: False)
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
