"""Checkpoints: complete or absent, verified before use, independent of world size and ZeRO stage.

    checkpoints/step_XXXXXXXX/
        weights.safetensors    name -> fp32 master weights, frozen tables included
        moments.safetensors    exp_avg/NAME and exp_avg_sq/NAME -> fp32
        state.json             step, images_seen, num_updates, data path, experiment, versions
        manifest.json          bytes and sha256 of the others; written last, the commit marker

A checkpoint is filled under a hidden name and renamed when all of it is on disk. The newest
complete one is found by looking; no file points to it that could go stale. Nothing is pickled.
"""

import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from retfm_dist.durable import (
    equalize_permissions,
    sha256_file,
    staged_directory,
    write_json,
)
from retfm_dist.errors import CheckpointError, DamagedCheckpointError

logger = logging.getLogger(__name__)

FORMAT = 1
WEIGHTS = "weights.safetensors"
MOMENTS_FILE = "moments.safetensors"
STATE = "state.json"
MANIFEST = "manifest.json"
_FILES = (WEIGHTS, MOMENTS_FILE, STATE)
_DAMAGED = ".damaged"


class TensorFile(Mapping[str, torch.Tensor]):
    """The tensors of a safetensors file whose names begin with a prefix, each read when asked for.

    Args:
        path: The file.
        prefix: Left out of the names.
    """

    def __init__(self, path: Path, prefix: str = "") -> None:
        """Read the header."""
        self._file = safe_open(path, framework="pt")
        self._prefix = prefix
        names = list(self._file.keys())
        self._names = {n.removeprefix(prefix): None for n in names if n.startswith(prefix)}

    def __getitem__(self, name: str) -> torch.Tensor:
        """Read one tensor, on the CPU."""
        if name not in self._names:
            raise KeyError(name)
        return self._file.get_tensor(self._prefix + name)

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._names)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint opened for reading.

    Attributes:
        weights: Name -> fp32 tensor, frozen tables included.
        moments: "exp_avg" and "exp_avg_sq", each name -> fp32 tensor.
        state: The content of state.json.
    """

    weights: Mapping[str, torch.Tensor]
    moments: Mapping[str, Mapping[str, torch.Tensor]]
    state: dict[str, Any]


def write_checkpoint(
    directory: Path,
    *,
    weights: Mapping[str, torch.Tensor],
    moments: Mapping[str, Mapping[str, torch.Tensor]],
    state: Mapping[str, Any],
) -> None:
    """Write a checkpoint atomically.

    Args:
        directory: Final place; must not exist.
        weights: Name -> fp32 CPU tensor.
        moments: "exp_avg" and "exp_avg_sq", each name -> fp32 CPU tensor.
        state: JSON values.

    Raises:
        CheckpointError: The disk is full or refuses.
    """
    flat = {f"{key}/{name}": t for key, part in moments.items() for name, t in part.items()}
    try:
        with staged_directory(directory) as staging:
            save_file(dict(weights), staging / WEIGHTS, metadata={"format": "pt"})
            save_file(flat, staging / MOMENTS_FILE, metadata={"format": "pt"})
            write_json(staging / STATE, {"format": FORMAT, **state})
            files = {
                name: {
                    "num_bytes": (staging / name).stat().st_size,
                    "sha256": sha256_file(staging / name),
                }
                for name in _FILES
            }
            write_json(staging / MANIFEST, {"format": FORMAT, "files": files})
            equalize_permissions(staging)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            "cannot write the checkpoint",
            where=directory,
            got=error,
            hint="earlier checkpoints are untouched; free some space and run the command again",
        ) from error


def verify_checkpoint(directory: Path) -> None:
    """Read every byte of a checkpoint and compare it with the manifest.

    Raises:
        DamagedCheckpointError: A file is missing, cut short or changed, or the manifest is.
        CheckpointError: The checkpoint cannot be read now, or another version wrote it.
    """
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        _check_format(manifest, directory)
        files = {name: manifest["files"][name] for name in _FILES}
        expected = {name: (entry["num_bytes"], entry["sha256"]) for name, entry in files.items()}
        for name, (num_bytes, sha256) in expected.items():
            _verify_file(directory / name, num_bytes, sha256)
        _verify_name(directory)
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
    except (ValueError, KeyError, TypeError) as error:
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


def _verify_file(path: Path, num_bytes: int, sha256: str) -> None:
    if not path.is_file():
        raise DamagedCheckpointError("missing", where=path)
    if path.stat().st_size != num_bytes:
        raise DamagedCheckpointError(
            "has another size", where=path, got=path.stat().st_size, expected=num_bytes
        )
    if sha256_file(path) != sha256:
        raise DamagedCheckpointError("damaged: its sha256 is not the manifest's", where=path)


def _verify_name(directory: Path) -> None:
    """Compare the step of a run's own checkpoint directory with the one that it holds."""
    named = re.fullmatch(r"step_(\d{8})", directory.name)
    if named and (step := read_state(directory)["step"]) != int(named[1]):
        raise DamagedCheckpointError(
            "the checkpoint of another step under this name",
            where=directory,
            got=f"step {step}",
            expected=f"step {int(named[1])}",
        )


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Return all checkpoint directories of a run, oldest first, complete or not."""
    steps = (run_dir / "checkpoints").glob("step_" + "[0-9]" * 8)
    return sorted(path for path in steps if path.is_dir())


def find_checkpoint(run_dir: Path) -> Path:
    """Return the newest complete and undamaged checkpoint of a run.

    A damaged newer one is passed over with a warning; one that cannot be judged is not.

    Raises:
        CheckpointError: The run has no checkpoint, all are damaged, or the newest one that is not
            cannot be read now or was written by another version.
    """
    reasons = []
    for directory in reversed(list_checkpoints(run_dir)):
        try:
            verify_checkpoint(directory)
        except DamagedCheckpointError as error:
            logger.warning("checkpoint passed over: %s", error)
            reasons.append(str(error))
            continue
        return directory
    if reasons:
        raise CheckpointError(
            f"all {len(reasons)} checkpoints are damaged",
            where=run_dir,
            got=reasons[0],
            hint="restore one from a backup, or start over in another run.dir",
        )
    raise CheckpointError("no checkpoint", where=run_dir, expected="checkpoints/step_XXXXXXXX")


def open_checkpoint(directory: Path) -> Checkpoint:
    """Open a checkpoint that has been verified."""
    moments_path = directory / MOMENTS_FILE
    return Checkpoint(
        weights=TensorFile(directory / WEIGHTS),
        moments={key: TensorFile(moments_path, f"{key}/") for key in ("exp_avg", "exp_avg_sq")},
        state=read_state(directory),
    )


def read_state(directory: Path) -> dict[str, Any]:
    """Read state.json of a checkpoint."""
    return json.loads((directory / STATE).read_text(encoding="utf-8"))


def read_weights(checkpoint_dir: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the weights of a checkpoint and what is known about them, after verifying all of it.

    Returns:
        Name -> float32 CPU tensor, frozen tables included; and the content of state.json.

    Raises:
        CheckpointError: The checkpoint is incomplete or damaged.
    """
    verify_checkpoint(checkpoint_dir)
    return dict(TensorFile(checkpoint_dir / WEIGHTS)), read_state(checkpoint_dir)


def prune_checkpoints(run_dir: Path, *, keep_last: int) -> None:
    """Remove all but the newest checkpoints; call after a newer one is complete."""
    for directory in list_checkpoints(run_dir)[:-keep_last]:
        # Out of sight first: what a kill leaves half removed must not look like a checkpoint.
        hidden = directory.with_name(f".{directory.name}.partial")
        directory.rename(hidden)
        shutil.rmtree(hidden)


def remove_leftovers(run_dir: Path) -> None:
    """Remove what killed processes left half written or half removed."""
    for hidden in (run_dir / "checkpoints").glob(".step_*.partial"):
        shutil.rmtree(hidden)
    for lock in (run_dir / "checkpoints").glob(".step_*.lock"):
        lock.unlink()


def set_aside(directory: Path) -> None:
    """Rename a damaged checkpoint, so that its step can be saved anew."""
    aside = directory.with_name(directory.name + _DAMAGED)
    shutil.rmtree(aside, ignore_errors=True)
    directory.rename(aside)
