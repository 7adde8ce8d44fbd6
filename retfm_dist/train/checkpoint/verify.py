"""Check of a checkpoint before it is used: every byte is read and compared with the manifest."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retfm_dist.durable import sha256_file
from retfm_dist.errors import CheckpointError, DamagedCheckpointError
from retfm_dist.train.checkpoint.layout import FORMAT, MANIFEST, STATE, part_name
from retfm_dist.train.checkpoint.part import FileFacts
from retfm_dist.train.checkpoint.read import read_state


def verify_checkpoint(directory: Path) -> None:
    """Read every byte of a checkpoint and compare it with the manifest.

    Raises:
        DamagedCheckpointError: A file is missing, cut short or changed, or the manifest is.
        CheckpointError: The checkpoint cannot be read now, or another version wrote it.
    """
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        _check_format(manifest, directory)
        files = {name: FileFacts(**facts) for name, facts in manifest["files"].items()}
        _verify_file(directory / STATE, files.pop(STATE))
        state = read_state(directory)
        # The state says how many parts there are, so that no lost line of a manifest hides one.
        for rank in range(state["world_size"]):
            _verify_file(directory / part_name(rank), files.pop(part_name(rank)))
        if files:
            raise ValueError(f"files of no rank: {sorted(files)}")
        _verify_name(directory, state["step"])
    except (FileNotFoundError, IsADirectoryError) as error:
        raise DamagedCheckpointError(
            "not a complete checkpoint: no manifest", where=directory
        ) from error
    except OSError as error:
        raise CheckpointError(
            "cannot read the checkpoint",
            where=error.filename or directory,
            got=error.strerror,
            hint="retry once the storage is reachable; nothing was changed",
        ) from error
    except CheckpointError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpointError("damaged manifest", where=directory / MANIFEST) from error


def _check_format(manifest: Mapping[str, Any], directory: Path) -> None:
    if (found := manifest["format"]) != FORMAT:
        raise CheckpointError(
            "unknown checkpoint format",
            where=directory,
            got=found,
            expected=FORMAT,
            hint="read it with the version of retfm_dist that wrote it",
        )


def _verify_file(path: Path, facts: FileFacts) -> None:
    if not path.is_file():
        raise DamagedCheckpointError("missing", where=path)
    if path.stat().st_size != facts.num_bytes:
        raise DamagedCheckpointError(
            "has another size", where=path, got=path.stat().st_size, expected=facts.num_bytes
        )
    if sha256_file(path) != facts.sha256:
        raise DamagedCheckpointError("damaged: its sha256 is not the manifest's", where=path)


def _verify_name(directory: Path, step: int) -> None:
    """Compare the step of a run's own checkpoint directory with the one that it holds."""
    named = re.fullmatch(r"step_(\d{8})", directory.name)
    if named and step != int(named[1]):
        raise DamagedCheckpointError(
            "the checkpoint of another step under this name",
            where=directory,
            got=f"step {step}",
            expected=f"step {int(named[1])}",
        )
