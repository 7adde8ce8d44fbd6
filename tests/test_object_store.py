import time

import pytest

from retfm_dist import object_store
from retfm_dist.errors import ConfigError
from retfm_dist.object_store import ObjectStore


@pytest.fixture
def store(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.tar").write_bytes(bytes(range(256)) * 100)
    return ObjectStore(f"file://{tmp_path}/set", timeout_s=1.0)


def test_a_file_is_copied_in_pieces(store, tmp_path, monkeypatch):
    monkeypatch.setattr(object_store, "_CHUNK_BYTES", 10_000)
    pieces = []
    store.download("a.tar", tmp_path / "copy", on_progress=lambda: pieces.append(1))
    assert (tmp_path / "copy").read_bytes() == bytes(range(256)) * 100
    assert len(pieces) == 3
    assert store.exists("a.tar")
    assert not store.exists("b.tar")


def test_an_identity_changes_with_the_file(store, tmp_path):
    before = store.identity("a.tar")
    assert store.identity("a.tar") == before
    (tmp_path / "set" / "a.tar").write_bytes(b"other")
    assert store.identity("a.tar") != before


class Flaky:
    """A file system that fails a number of times."""

    def __init__(self, files, failures, error):
        self._files, self.failures, self._error = files, failures, error
        self.asked = 0

    def cat_file(self, *args, **options):
        self.asked += 1
        if self.failures:
            self.failures -= 1
            if self._error is None:
                return b"short"
            raise self._error
        return self._files.cat_file(*args, **options)

    def __getattr__(self, name):
        return getattr(self._files, name)


@pytest.mark.parametrize("error", [ConnectionError("gone"), RuntimeError("503 Slow Down"), None])
def test_a_store_that_fails_for_a_while_is_asked_again(store, tmp_path, error):
    store._files = Flaky(store._files, 3, error)
    store.download("a.tar", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == bytes(range(256)) * 100
    assert store._files.asked == 4


def test_a_store_that_fails_for_good_is_given_up_in_time(store, tmp_path):
    store._files = Flaky(store._files, 10**9, ConnectionError("gone"))
    begun_at = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer within 1 s; at last: ConnectionError: gone"):
        store.download("a.tar", tmp_path / "copy")
    assert time.monotonic() - begun_at < 3
    assert 3 <= store._files.asked <= 12  # ever less often


@pytest.mark.parametrize("error", [FileNotFoundError("a.tar"), PermissionError("no")])
def test_a_refusal_that_stays_one_is_not_asked_again(store, tmp_path, error):
    store._files = Flaky(store._files, 10**9, error)
    with pytest.raises(type(error)):
        store.download("a.tar", tmp_path / "copy")
    assert store._files.asked == 1


def test_files_are_written_listed_and_removed(store, tmp_path):
    (tmp_path / "b.bin").write_bytes(b"new")
    store.upload(tmp_path / "b.bin", "inner/b.bin")
    assert store.list_files() == {"a.tar", "inner/b.bin"}
    assert (tmp_path / "set" / "inner" / "b.bin").read_bytes() == b"new"
    store.remove("inner/b.bin")
    assert store.list_files() == {"a.tar"}
    store.remove("inner/b.bin")  # gone already


def test_an_empty_place_has_no_files(tmp_path):
    assert ObjectStore(f"file://{tmp_path}/nothing", timeout_s=1.0).list_files() == set()


@pytest.mark.parametrize("address", ["nonsense://bucket/set", "abfs://container/set"])
def test_a_store_without_its_library_is_refused_with_advice(address):
    with pytest.raises(ConfigError, match="cannot use this kind of store; got .* pip install"):
        ObjectStore(address, timeout_s=1)
