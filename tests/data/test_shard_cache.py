import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from retfm_dist.data.shard_cache import ShardCache


@pytest.fixture
def cache(tmp_path):
    return ShardCache(tmp_path / "cache", limit_bytes=1000)


def fetch_of(content, counted=None):
    def fetch(path):
        if counted is not None:
            counted.append(path.name)
        path.write_bytes(content)

    return fetch


def put(cache, name, size=300, counted=None):
    path = cache.root / "set" / name
    cache.ensure(path, fetch_of(b"x" * size, counted), num_bytes=size)
    return path


def test_a_file_is_fetched_once(cache):
    counted = []
    for _ in range(3):
        path = put(cache, "a.tar", counted=counted)
        assert path.read_bytes() == b"x" * 300
    assert counted == ["a.tar.part"]


def test_the_least_recently_used_go_first_and_stay_readable(cache):
    paths = [put(cache, name) for name in ("a.tar", "b.tar", "c.tar")]
    for number, path in enumerate(paths):
        os.utime(path, (number, number))
    assert cache.touch(paths[0])
    with paths[1].open("rb") as open_one:
        put(cache, "d.tar")
        assert [path.exists() for path in paths] == [True, False, True]
        assert open_one.read() == b"x" * 300
    put(cache, "e.tar", size=700)
    assert sorted(path.name for path in (cache.root / "set").glob("*.tar")) == ["d.tar", "e.tar"]


def test_what_was_not_fetched_is_never_removed(cache):
    (cache.root / "set").mkdir(parents=True)
    own = cache.root / "set" / "own.tar"
    own.write_bytes(b"mine" * 1000)
    replaced = put(cache, "a.tar")
    replaced.unlink()
    replaced.write_bytes(b"y" * 300)  # another file under the name of one that was fetched
    os.utime(own, (0, 0))
    os.utime(replaced, (0, 0))
    for name in ("b.tar", "c.tar", "d.tar", "e.tar", "f.tar"):
        put(cache, name)
    assert own.exists()
    assert replaced.read_bytes() == b"y" * 300
    assert len(list((cache.root / "set").glob("[b-f].tar"))) == 3


def test_what_is_on_its_way_counts_and_what_was_left_behind_does_not(cache):
    begun, go_on = threading.Event(), threading.Event()

    def slow(path):
        begun.set()
        go_on.wait(10)
        path.write_bytes(b"x" * 600)

    path = cache.root / "set" / "slow.tar"
    thread = threading.Thread(target=lambda: cache.ensure(path, slow, num_bytes=600))
    old = put(cache, "old.tar")
    thread.start()
    begun.wait(10)
    put(cache, "new.tar")
    assert not old.exists()
    go_on.set()
    thread.join()
    assert path.exists()
    (cache.root / "set" / "left.tar.part").write_bytes(b"x" * 900)
    (cache.root / "set" / "left.tar.lock").write_bytes(b"%20d" % 900)
    put(cache, "tiny.tar", size=100)
    assert path.exists()
    assert not (cache.root / "set" / "left.tar.part").exists()


def test_small_files_are_kept(cache):
    path = cache.root / "set" / "manifest.json"
    cache.ensure(path, fetch_of(b"{}"))
    for name in "abcdef":
        put(cache, f"{name}.tar")
    assert path.exists()


def test_a_file_larger_than_the_limit_is_refused(cache):
    kept = put(cache, "a.tar")
    with pytest.raises(OSError, match=r"does not fit into a cache of .*data.cache_gb"):
        put(cache, "b.tar", size=1001)
    assert kept.exists()


def test_a_fetch_that_fails_leaves_nothing_that_counts(cache):
    def fail(path):
        path.write_bytes(b"half")
        raise ConnectionError("gone")

    path = cache.root / "set" / "a.tar"
    with pytest.raises(ConnectionError):
        cache.ensure(path, fail, num_bytes=300)
    assert not path.exists()
    assert put(cache, "a.tar").read_bytes() == b"x" * 300


def test_of_many_threads_one_fetches_and_the_others_wait(cache):
    counted, told = [], []

    def slow(path):
        counted.append(path)
        for _ in range(4):
            with path.open("ab") as file:
                file.write(b"x" * 50)
            time.sleep(0.15)

    path = cache.root / "set" / "a.tar"
    threads = [
        threading.Thread(
            target=lambda: cache.ensure(path, slow, num_bytes=200, on_wait=lambda: told.append(1))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counted) == 1
    assert path.read_bytes() == b"x" * 200
    assert len(told) >= 6  # whenever the part has grown


SCRIPT = """
import sys, time
from pathlib import Path
from retfm_dist.data.shard_cache import ShardCache

def fetch(path):
    with path.open("wb") as file:
        for _ in range(30):
            file.write(b"x" * 10)
            file.flush()
            time.sleep(float(sys.argv[2]))

path = Path(sys.argv[1]) / "set" / "a.tar"
ShardCache(Path(sys.argv[1]), 1000).ensure(path, fetch, num_bytes=300)
print(path.read_bytes() == b"x" * 300)
"""


def test_a_killed_fetch_is_taken_up_by_whoever_waits(cache):
    def start(pause_s):
        command = [sys.executable, "-c", SCRIPT, cache.root, str(pause_s)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    first = start(1.0)
    part = cache.root / "set" / "a.tar.part"
    while not part.exists():
        time.sleep(0.05)
    second = start(0.0)
    time.sleep(0.5)
    assert second.poll() is None
    first.send_signal(signal.SIGKILL)
    out, _ = second.communicate(timeout=60)
    first.communicate(timeout=60)
    assert out == "True\n"
    assert not part.exists()
