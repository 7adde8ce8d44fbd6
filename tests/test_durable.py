import errno
import os
import stat

import pytest

from retfm_dist import durable
from retfm_dist.durable import open_atomic, sha256_file, write_json


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
