"""Opens the shard sets of a run, wherever they are."""

from pathlib import Path

from retfm_dist.config.schema import PretrainConfig
from retfm_dist.data.remote_set import open_remote_set
from retfm_dist.data.shard_set import ShardSet, open_shard_set


def open_shard_sets(config: PretrainConfig) -> list[ShardSet]:
    """Open the sets of a run.

    Raises:
        ShardError: A set is incomplete or damaged.
        DataError: Tars are missing.
    """
    return [_open(source, config) for source in config.data.sources]


def _open(source: str, config: PretrainConfig) -> ShardSet:
    if "://" in source:
        return open_remote_set(source, config.data, timeout_s=config.read_timeout_s)
    return open_shard_set(Path(source), max_missing_ratio=config.data.max_bad_ratio)
