"""Which sample goes where: the order of a set and its cuts into shards. Pure functions."""

import hashlib
from collections.abc import Sequence
from itertools import accumulate, groupby


def order_key(source_sha256: str, *, seed: int) -> int:
    """Return the 64-bit sorting key of a sample.

    Sorting by it shuffles a set by content and seed: neither the order of the archive table nor
    the number of workers matters, and every shard is a mix of sites, patients and dates.

    Args:
        source_sha256: Hex digest of the source file.
        seed: Seed of the shuffle.
    """
    digest = hashlib.sha256(f"retfm_dist order {seed} {source_sha256}".encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big")


def cut_shards(sizes: Sequence[int], *, shard_bytes: int) -> list[range]:
    """Cut samples into runs of about equal size, none much above the limit.

    Args:
        sizes: Bytes each sample takes in a tar, in order.
        shard_bytes: Upper limit of a shard, passed by less than one sample.

    Returns:
        Non-empty ranges of positions that follow one another and cover all samples.
    """
    total = sum(sizes)
    num_shards = -(-total // shard_bytes)
    starts = [end - size for end, size in zip(accumulate(sizes), sizes, strict=True)]
    numbered = groupby(
        range(len(sizes)), key=lambda position: starts[position] * num_shards // total
    )
    runs = [list(positions) for _, positions in numbered]
    return [range(run[0], run[-1] + 1) for run in runs]
