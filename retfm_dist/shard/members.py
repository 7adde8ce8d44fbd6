"""Which images and patients a shard set holds, for whoever is trained on it."""

from pathlib import Path

import pyarrow
import pyarrow.parquet

from retfm_dist.cohort.membership import make_membership, write_membership
from retfm_dist.errors import ShardError
from retfm_dist.shard.manifest import Manifest
from retfm_dist.shard.write import TABLE_NAME


def write_members(shard_dir: Path, manifest: Manifest, path: Path) -> None:
    """Write the membership of a set; nothing where the set has no table of its samples.

    Args:
        shard_dir: The set.
        manifest: Its manifest.
        path: A `cohort.membership` file.

    Raises:
        ShardError: The table cannot be read.
    """
    if TABLE_NAME not in {file.name for file in manifest.files}:
        return
    try:
        table = pyarrow.parquet.read_table(
            shard_dir / TABLE_NAME, columns=["uid", "subject_id", "perceptual_hash"]
        )
    except (OSError, pyarrow.ArrowException) as error:
        raise ShardError(
            "cannot read the table of the set",
            where=shard_dir / TABLE_NAME,
            got=error,
            hint="copy or build the set again",
        ) from error
    membership = make_membership(
        fingerprint=manifest.fingerprint,
        salt_id=manifest.build.get("salt_id"),
        uids=(f"{uid:016x}" for uid in table.column("uid").to_pylist()),
        subject_ids=table.column("subject_id").to_pylist(),
        hashes=table.column("perceptual_hash").to_pylist(),
    )
    write_membership(path, membership)
