"""Choose the salt of a set so that its pseudonyms agree with those of the sets beside it."""

import json
from collections.abc import Mapping
from pathlib import Path

from retfm_dist.cohort.pseudonym import make_salt_id
from retfm_dist.cohort.salt import default_salt_path, load_salt, make_salt
from retfm_dist.errors import ShardError
from retfm_dist.shard.manifest import MANIFEST_NAME

_MAX_NEIGHBORS = 1000


def choose_salt(salt_file: Path | None, out_dir: Path, *, is_new: bool) -> bytes:
    """Return the salt for a new set, made if there is none yet.

    Args:
        salt_file: The file named by the user; None is the user's own, `default_salt_path`.
        out_dir: The set's directory.
        is_new: Whether the user wants another salt than that of the sets beside it.

    Raises:
        CohortError: The file cannot be used.
        ShardError: The file would lie inside the set, or the sets beside it have pseudonyms under
            another salt and `is_new` is false.
    """
    path = salt_file or default_salt_path()
    if out_dir.resolve() in path.resolve().parents:
        raise ShardError(
            "the salt file would lie inside the shard set",
            where=path,
            hint="keep the secret elsewhere, with --salt-file",
        )
    salt = load_salt(path) if path.exists() else None
    salt_id = make_salt_id(salt) if salt else None
    others = {n: id_ for n, id_ in read_salt_ids(out_dir.parent).items() if id_ != salt_id}
    if others and not is_new:
        name, other_id = next(iter(others.items()))
        here = "under another salt" if salt else "under a salt, and there is no salt here"
        raise ShardError(
            f"the sets beside the new one have pseudonyms {here}",
            where=path,
            got=f"salt_id {salt_id or 'none'} here, {other_id} in {name}",
            hint="name the file of that salt with --salt-file; with --new-salt nobody can match "
            "patients between the sets",
        )
    return salt or make_salt(path)


def read_salt_ids(directory: Path) -> Mapping[str, str]:
    """Return the salt id of each shard set in a directory, by name, sorted."""
    found = {}
    for path in sorted(directory.glob(f"*/{MANIFEST_NAME}"))[:_MAX_NEIGHBORS]:
        try:
            salt_id = json.loads(path.read_text("utf-8"))["build"]["salt_id"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another kind of manifest, or a set that `verify` is for
        found[path.parent.name] = str(salt_id)
    return found
