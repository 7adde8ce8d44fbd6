import errno
import fcntl
import os

import pytest

from retfm_dist.errors import RetfmError
from retfm_dist.locks import lock_file, try_lock


def refuse_with(code, text):
    def flock(descriptor, operation):
        raise OSError(code, text)

    return flock


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path):
    path = tmp_path / ".set.lock"
    first = lock_file(path, wanted_for=tmp_path / "set")
    with pytest.raises(RetfmError, match="set: another process is writing it"):
        lock_file(path, wanted_for=tmp_path / "set")
    os.close(first)
    os.close(lock_file(path, wanted_for=tmp_path / "set"))


def test_a_lock_on_a_file_that_has_been_removed_is_no_lock(tmp_path, monkeypatch):
    """The holder before us removed the file after we had opened it."""
    path = tmp_path / ".set.lock"

    def take_and_remove(descriptor):
        path.unlink()
        return try_lock(descriptor)

    monkeypatch.setattr("retfm_dist.locks.try_lock", take_and_remove)
    with pytest.raises(RetfmError, match="another process is writing it"):
        lock_file(path, wanted_for=tmp_path / "set")


def test_a_file_system_without_locks_is_a_warning_and_no_refusal(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("fcntl.flock", refuse_with(errno.ENOLCK, "No locks available"))
    os.close(lock_file(tmp_path / "lock", wanted_for=tmp_path))
    assert "file locks are not supported" in caplog.text


def test_a_failing_lock_is_not_taken_for_another_process(tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", refuse_with(errno.EIO, "Input/output error"))
    with pytest.raises(OSError, match="Input/output error"):
        lock_file(tmp_path / "lock", wanted_for=tmp_path)


def test_the_locked_file_is_open_for_writing_as_network_file_systems_ask(tmp_path, monkeypatch):
    modes = []

    def flock(descriptor, operation):
        modes.append(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE)

    monkeypatch.setattr("fcntl.flock", flock)
    os.close(lock_file(tmp_path / "lock", wanted_for=tmp_path))
    assert modes == [os.O_RDWR]
