"""Opens a shard set in an object store."""

import hashlib
import os
from pathlib import Path

from retfm_dist.config.data import DataConfig
from retfm_dist.data.remote_files import RemoteFiles
from retfm_dist.data.shard_cache import ShardCache
from retfm_dist.data.shard_files import open_files_allowed
from retfm_dist.data.shard_set import ShardSet
from retfm_dist.errors import DataError
from retfm_dist.object_store import ObjectStore
from retfm_dist.shard.manifest import MANIFEST_NAME
from retfm_dist.shard.set_index import SET_INDEX_NAME, SetIndex, read_set_index


def open_remote_set(address: str, config: DataConfig, *, timeout_s: float) -> ShardSet:
    """Open a set in an object store; its manifest and its index are fetched.

    Raises:
        DataError: The store does not answer, the set is incomplete, or a shuffle of the whole set
            would need more tars at a time than there is space for.
        ShardError: Manifest or index are damaged.
    """
    cache = ShardCache(cache_dir(config.cache_dir), int(config.cache_gb * 1e9))
    store = ObjectStore(address, timeout_s=timeout_s)
    try:
        name = hashlib.sha256(f"{address} {store.identity(MANIFEST_NAME)}".encode()).hexdigest()
        directory = cache.root / name[:24]

        def obtain(name: str) -> None:
            if store.exists(name):
                cache.ensure(directory / name, lambda path: store.download(name, path))

        for needed in (MANIFEST_NAME, SET_INDEX_NAME):
            obtain(needed)
    except OSError as error:
        raise DataError(
            "cannot open the shard set",
            where=address,
            got=error,
            hint="see that the address is right and that the store answers and lets you in",
        ) from error
    if not (directory / SET_INDEX_NAME).exists():
        raise DataError(
            "the shard set has no set.index",
            where=address,
            hint="`python -m retfm_dist.shard index DIR` makes it; copy it into the store",
        )
    index = read_set_index(directory / SET_INDEX_NAME, manifest_path=directory / MANIFEST_NAME)
    _check_space(address, index, config)
    files = RemoteFiles(
        store,
        cache,
        directory,
        names=index.names,
        num_bytes=index.num_bytes.tolist(),
        max_open_files=open_files_allowed(),
    )
    return ShardSet(directory, index, files, obtain, is_remote=True)


def cache_dir(configured: Path | None) -> Path:
    """Return where tars of object stores are kept."""
    if configured is not None:
        return configured
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "retfm_dist" / "shards"


def _check_space(address: str, index: SetIndex, config: DataConfig) -> None:
    """Refuse to fetch the same tars over and over."""
    total_gb = float(index.num_bytes.sum()) / 1e9
    if config.window is None and total_gb > config.cache_gb:
        raise DataError(
            "a shuffle of whole lanes reads all tars in turn, and they do not fit into the cache",
            where=address,
            got=f"{total_gb:.1f} GB and data.cache_gb {config.cache_gb:g}",
            hint="set data.lanes and data.window (docs/data.md), or give the cache more space",
        )
