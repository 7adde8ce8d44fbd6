"""Order and cuts of a set."""

import hashlib

import numpy as np

from retfm_dist.shard.plan import cut_shards, order_key


def test_order_is_pinned_and_follows_seed_and_content():
    assert order_key("ab", seed=0) == int(
        hashlib.sha256(b"retfm_dist order 0 ab").hexdigest()[:16], 16
    )
    assert len({order_key(name, seed=seed) for name in ("a", "b") for seed in (0, 1)}) == 4


def test_order_mixes():
    # Site, date and patient follow the table; in the shuffled order they must not.
    digests = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(4000)]
    order = np.argsort(np.array([order_key(digest, seed=3) for digest in digests], np.uint64))
    halves = (order < 2000).reshape(8, 500).mean(axis=1)
    assert abs(halves - 0.5).max() < 0.1
    assert abs(np.corrcoef(order, np.arange(4000))[0, 1]) < 0.05


def test_cuts_cover_every_sample_once_and_keep_shards_near_the_limit():
    generator = np.random.default_rng(0)
    for _ in range(200):
        sizes = generator.integers(1, 100, generator.integers(1, 60)).tolist()
        limit = int(generator.integers(1, 1500))
        runs = cut_shards(sizes, shard_bytes=limit)
        assert [position for run in runs for position in run] == list(range(len(sizes)))
        assert all(len(run) > 0 for run in runs)
        for run in runs:
            assert sum(sizes[position] for position in run) < limit + max(sizes)
        assert len(runs) <= -(-sum(sizes) // limit)


def test_shards_are_about_equal():
    runs = cut_shards([10] * 105, shard_bytes=500)
    assert [len(run) for run in runs] == [35, 35, 35]
