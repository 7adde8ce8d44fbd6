import os
import resource
import threading

import pytest

from retfm_dist.data.shard_files import LocalFiles, OpenFile, open_files_allowed


def test_bytes_are_read_at_any_offset_and_fewer_at_the_end(tmp_path):
    (tmp_path / "a.tar").write_bytes(bytes(range(100)))
    files = LocalFiles(tmp_path, ["a.tar"])
    assert files.read(0, 5, 90) == bytes(range(90, 95))
    assert files.read(0, 50, 90) == bytes(range(90, 100))
    assert files.place(0) == f"{tmp_path}/a.tar"
    files.close()


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(OSError, match="not a regular file"):
        LocalFiles(tmp_path, ["a.tar"]).read(0, 1, 0)


def test_a_file_stays_open_for_whoever_reads_from_it(tmp_path, open_files):
    for name in "ab":
        (tmp_path / f"{name}.tar").write_bytes(name.encode() * 10)
    files = LocalFiles(tmp_path, ["a.tar", "b.tar"], max_open_files=1)
    first = files._file(0)
    assert files.read(1, 3, 0) == b"bbb"
    assert first.read(3, 0) == b"aaa"
    assert len(open_files()) == 2
    del first
    files.close()
    assert open_files() == set()


def test_many_threads_and_few_open_files_give_the_right_bytes(tmp_path, open_files):
    names = [f"{number}.tar" for number in range(20)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(bytes([number]) * 5000)
    files = LocalFiles(tmp_path, names, max_open_files=3)
    wrong = []

    def read(offset):
        for i in range(200):
            number = (i * 7 + offset) % 20
            if files.read(number, 5000, 0) != bytes([number]) * 5000:
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(open_files()) <= 3
    files.close()


def test_a_short_read_is_continued(tmp_path, monkeypatch):
    (tmp_path / "a.tar").write_bytes(bytes(range(100)))
    file = OpenFile(tmp_path / "a.tar")
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: pread(fd, min(size, 7), offset))
    assert file.read(40, 10) == bytes(range(10, 50))


def test_open_files_stay_well_below_the_limit_of_the_process(monkeypatch):
    for soft, expected in ((1024, 256), (2, 1), (10**9, 16_384), (resource.RLIM_INFINITY, 16_384)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert open_files_allowed() == expected
