import threading
import time

import pytest

from retfm_dist.data.remote_files import RemoteFiles
from retfm_dist.data.shard_cache import ShardCache
from retfm_dist.data.timed_calls import TimedCalls
from retfm_dist.object_store import ObjectStore

NAMES = [f"{number}.tar" for number in range(6)]
SIZE = 1000


@pytest.fixture
def open_remote(tmp_path):
    (tmp_path / "store").mkdir()
    for number, name in enumerate(NAMES):
        (tmp_path / "store" / name).write_bytes(bytes([number]) * SIZE)
    opened = []

    def build(limit=10 * SIZE, max_open_files=4, timeout_s=2.0):
        store = ObjectStore(f"file://{tmp_path}/store", timeout_s=timeout_s)
        cache = ShardCache(tmp_path / "cache", limit)
        opened.append(
            RemoteFiles(
                store,
                cache,
                tmp_path / "cache" / "set",
                names=NAMES,
                num_bytes=[SIZE] * len(NAMES),
                max_open_files=max_open_files,
            )
        )
        return opened[-1], store

    yield build
    for files in opened:
        files.close()


def test_a_tar_is_fetched_when_it_is_read(open_remote, tmp_path):
    files, store = open_remote()
    assert files.read(3, 5, 10) == b"\3" * 5
    assert files.read(3, 50, SIZE - 3) == b"\3" * 3
    assert (tmp_path / "cache" / "set" / "3.tar").exists()
    assert files.place(3) == f"{store.address}/3.tar"


def test_what_is_wanted_is_there_before_it_is_read(open_remote, tmp_path):
    files, _ = open_remote()
    files.want([4, 1])
    deadline = time.monotonic() + 10
    while not (tmp_path / "cache" / "set" / "1.tar").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    files.want([4, 1, 2])


def test_many_threads_read_through_a_cache_that_holds_two(open_remote):
    files, _ = open_remote(limit=2 * SIZE, max_open_files=2)
    wrong = []

    def read(offset):
        for i in range(60):
            number = (i // 10 + offset) % len(NAMES)
            if files.read(number, 7, i) != bytes([number]) * 7:
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(offset,)) for offset in (0, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_tar_that_the_store_has_not_is_refused_at_once_and_for_a_while(open_remote, tmp_path):
    files, store = open_remote()
    (tmp_path / "store" / "2.tar").unlink()
    asked = []
    download = store.download
    store.download = lambda *args, **options: (asked.append(1), download(*args, **options))
    for _ in range(5):
        with pytest.raises(FileNotFoundError):
            files.read(2, 1, 0)
    assert len(asked) == 1
    assert files.read(1, 1, 0) == b"\1"


def test_a_slow_fetch_that_goes_on_is_no_timeout(open_remote):
    files, store = open_remote()
    download = store.download

    def slow(name, path, *, on_progress):
        for _ in range(6):
            time.sleep(0.25)
            on_progress()
        download(name, path, on_progress=on_progress)

    store.download = slow
    calls = TimedCalls(2, timeout_s=0.8, name="retfm-test")
    begun_at = time.monotonic()
    answers = calls.map(lambda shard: files.read(shard, 1, 0), [0], on_wait=lambda *_: None)
    assert answers == [b"\0"]
    assert time.monotonic() - begun_at > 1.4
    calls.close()


def test_waiting_in_line_behind_fetches_that_go_on_is_no_timeout(open_remote):
    files, store = open_remote()
    download, begun = store.download, threading.Semaphore(0)

    def slow(name, path, *, on_progress):
        begun.release()
        for _ in range(6):
            time.sleep(0.25)
            on_progress()
        download(name, path, on_progress=on_progress)

    store.download = slow
    files.want([1, 2, 3, 4])
    for _ in range(4):
        assert begun.acquire(timeout=10)
    calls = TimedCalls(2, timeout_s=0.8, name="retfm-test")
    assert calls.map(lambda shard: files.read(shard, 1, 0), [5], on_wait=lambda *_: None) == [b"\5"]
    calls.close()
