"""Which images and patients shard sets hold, for whoever is trained on them."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from retfm_dist.cohort.membership import make_membership, write_membership
from retfm_dist.errors import ShardError
from retfm_dist.shard.manifest import read_manifest
from retfm_dist.shard.write import TABLE_NAME

_COLUMNS = ["uid", "subject_id", "perceptual_hash"]


def write_members(shard_dirs: Sequence[Path], path: Path, *, fingerprint: str) -> None:
    """Write the membership of sets; nothing where one of them has no table of its samples.

    Args:
        shard_dirs: The sets.
        path: A `cohort.membership` file.
        fingerprint: Names the content of all of them.

    Raises:
        ShardError: A table cannot be read.
    """
    if not all((directory / TABLE_NAME).is_file() for directory in shard_dirs):
        return
    manifests = [read_manifest(directory) for directory in shard_dirs]
    if any(TABLE_NAME not in {file.name for file in manifest.files} for manifest in manifests):
        return
    table = pyarrow.concat_tables([_read_table(directory) for directory in shard_dirs])
    # Pseudonyms of different salts cannot be asked for by one of them.
    salts = {manifest.build.get("salt_id") for manifest in manifests}
    membership = make_membership(
        fingerprint=fingerprint,
        salt_id=salts.pop() if len(salts) == 1 else None,
        uids=(f"{uid:016x}" for uid in table.column("uid").to_pylist()),
        subject_ids=table.column("subject_id").to_pylist(),
        hashes=table.column("perceptual_hash").to_pylist(),
    )
    write_membership(path, membership)


def _read_table(directory: Path) -> pyarrow.Table:
    try:
        return pyarrow.parquet.read_table(directory / TABLE_NAME, columns=_COLUMNS)
    except (OSError, pyarrow.ArrowException) as error:
        raise ShardError(
            "cannot read the table of the set",
            where=directory / TABLE_NAME,
            got=error,
            hint="copy or build the set again",
        ) from error
