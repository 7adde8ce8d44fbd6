"""Training batches from a real S3 API on loopback that is slow, overloaded, gone, and back."""

import threading

import pytest
import torch

from retfm_dist.data.loader import build_loader
from retfm_dist.data.remote_set import cache_dir, open_remote_set
from retfm_dist.errors import DataError
from retfm_dist.ranks.world import Ranks
from retfm_dist.shard.set_index import write_set_index
from tests.fakes.s3 import ENVIRONMENT, S3Server

CPU = torch.device("cpu")


@pytest.fixture
def server(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    s3 = S3Server()
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.address)
    yield s3
    s3.stop()


@pytest.fixture
def many_tars(tmp_path, pack_shards, jpegs):
    """Two pictures a tar, so that an epoch needs tar after tar."""
    directory = pack_shards(tmp_path / "many", [jpegs[2 * i : 2 * i + 2] for i in range(18)])
    write_set_index(directory)
    return directory


@pytest.fixture
def open_loader(make_config, tmp_path):
    opened = []

    def build(address, *overrides, rank=0, world_size=1):
        config = make_config(
            f"data.shards={address}", f"data.cache_dir={tmp_path / 'cache'}",
            "data.read_timeout_s=3", "data.max_bad_ratio=0.1", *overrides,
        )  # fmt: skip
        ranks = Ranks(rank=rank, local_rank=rank, world_size=world_size)
        opened.append(build_loader(config, ranks=ranks, device=CPU))
        return opened[-1]

    yield build
    for loader in opened:
        loader.close()


def images_of(loader, steps=(0, 8)):
    return torch.cat([batch.images for batch in loader.batches(*steps)])


LANES = ("data.lanes=2", "data.window=4")


@pytest.mark.parametrize("overrides", [(), LANES])
def test_batches_are_those_of_the_directory(server, open_loader, many_tars, overrides):
    address = server.upload(many_tars, "set")
    expected = images_of(open_loader(many_tars, *overrides))
    assert torch.equal(images_of(open_loader(address, *overrides)), expected)
    assert server.num_requests == 18
    # Another rank of the host finds everything there.
    images_of(open_loader(address, *overrides, rank=1, world_size=2))
    assert server.num_requests == 18


def test_a_small_cache_is_enough_for_lanes_and_windows(server, open_loader, many_tars, tmp_path):
    address = server.upload(many_tars, "set")
    size = max(path.stat().st_size for path in many_tars.glob("*.tar"))
    cache_gb = f"data.cache_gb={8 * size / 1e9:.9f}"
    expected = images_of(open_loader(many_tars, *LANES))
    assert torch.equal(images_of(open_loader(address, *LANES, cache_gb)), expected)
    kept = sum(path.stat().st_size for path in (tmp_path / "cache").glob("*/*.tar"))
    assert kept <= 8 * size
    with pytest.raises(
        DataError, match=r"do not fit into the cache; got .* data.lanes and data.win"
    ):
        open_loader(address, cache_gb)


def test_a_store_that_is_slow_and_overloaded_gives_the_same_batches(server, open_loader, many_tars):
    address = server.upload(many_tars, "set")
    expected = images_of(open_loader(many_tars))
    loader = open_loader(address, "data.read_timeout_s=20")
    server.delay_s, server.num_refusals = 0.05, 20
    assert torch.equal(images_of(loader), expected)
    assert server.num_refusals == 0


def test_a_store_that_dies_in_mid_epoch_and_returns_gives_the_same_batches(
    server, open_loader, many_tars
):
    address = server.upload(many_tars, "set")
    expected = images_of(open_loader(many_tars, *LANES))
    loader = open_loader(address, *LANES, "data.read_timeout_s=20")
    server.delay_s = 0.1
    batches = loader.batches(0, 8)
    images = [next(batches).images for _ in range(3)]
    server.stop()
    returning = threading.Timer(2.0, server.start)
    returning.start()
    images += [batch.images for batch in batches]
    returning.join()
    assert torch.equal(torch.cat(images), expected)


def test_a_store_that_dies_for_good_ends_in_one_error(server, open_loader, many_tars):
    address = server.upload(many_tars, "set")
    loader = open_loader(address, *LANES, "data.read_timeout_s=2")
    server.delay_s = 0.8
    batches = loader.batches(0, 8)
    next(batches)
    server.stop()
    with pytest.raises(DataError, match=r"rank 0, s3://eyes/set/.*tar: the storage does not answer|"
                       r"s3://eyes/set/.*: nothing can be read in place"):  # fmt: skip
        list(batches)


def test_a_tar_that_the_store_lacks_is_replaced(server, open_loader, many_tars):
    address = server.upload(many_tars, "set")
    server.remove("set/000007.tar")
    loader = open_loader(address)
    replaced = [item for batch in loader.batches(0, 4) for item in batch.replaced]
    assert {item.shard for item in replaced} == {f"{address}/000007.tar"}
    assert {item.row for item in replaced} <= {0, 1}
    assert all(item.reason.startswith("cannot be read: ") for item in replaced)


def test_a_set_that_has_changed_in_the_store_is_fetched_anew(
    server, make_config, tmp_path, pack_shards, jpegs
):
    config = make_config(f"data.cache_dir={tmp_path / 'cache'}").data
    directories = []
    for name, count in (("one", 10), ("two", 20)):
        made = pack_shards(tmp_path / name, [jpegs[:count]])
        write_set_index(made)
        address = server.upload(made, "set")
        shard_set = open_remote_set(address, config, timeout_s=5)
        assert shard_set.index.num_samples == count
        directories.append(shard_set.directory)
        shard_set.close()
    assert directories[0] != directories[1]


def test_what_cannot_be_opened_is_one_error(server, make_config, tmp_path, many_tars):
    config = make_config(f"data.cache_dir={tmp_path / 'cache'}").data
    server.upload(many_tars, "set")
    with pytest.raises(DataError, match=r"s3://eyes/nowhere: cannot open the shard set"):
        open_remote_set("s3://eyes/nowhere", config, timeout_s=1)
    server.remove("set/set.index")
    with pytest.raises(DataError, match=r"s3://eyes/set: the shard set has no set.index; .* index"):
        open_remote_set("s3://eyes/set", config, timeout_s=1)
    server.stop()
    with pytest.raises(DataError, match=r"cannot open the shard set; got no answer within 1 s"):
        open_remote_set("s3://eyes/set", config, timeout_s=1)


def test_the_cache_is_in_the_users_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir(None) == tmp_path / "retfm_dist" / "shards"
    assert cache_dir(tmp_path / "own") == tmp_path / "own"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(cache_dir(None)) == "/home/somebody/.cache/retfm_dist/shards"
