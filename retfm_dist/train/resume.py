"""Choice of the checkpoint that a run starts from."""

import json
import logging
from collections.abc import Collection
from pathlib import Path

from retfm_dist.config import PretrainConfig
from retfm_dist.durable import sha256_file, write_json
from retfm_dist.errors import CheckpointError
from retfm_dist.train.checkpoint.folder import (
    find_checkpoint,
    list_checkpoints,
    remove_leftovers,
    set_aside,
)
from retfm_dist.train.checkpoint.layout import MANIFEST
from retfm_dist.train.checkpoint.read import read_state
from retfm_dist.train.checkpoint.verify import verify_checkpoint
from retfm_dist.train.experiment import check_experiment
from retfm_dist.train.rollback import drop_superseded
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.skips import read_windows

logger = logging.getLogger(__name__)


def is_finished(
    run_dir: RunDir, config: PretrainConfig, *, overridden: Collection[str] = ()
) -> bool:
    """Whether the run in this directory has finished.

    Args:
        run_dir: The run directory.
        config: The config of this start.
        overridden: Fields of it that may differ from the run's.

    Raises:
        CheckpointError: It has, but under a config that defines another experiment; or the
            marker is damaged.
    """
    if not run_dir.done_path.exists():
        return False
    try:
        experiment = json.loads(run_dir.done_path.read_text(encoding="utf-8"))["experiment"]
    except (ValueError, KeyError) as error:
        raise CheckpointError(
            "damaged marker of a finished run", where=run_dir.done_path
        ) from error
    check_experiment(config, experiment, where=run_dir.done_path, overridden=overridden)
    return True


def set_history_aside(run_dir: RunDir) -> Path | None:
    """Move all that a run directory holds into a folder of its own inside it, and return that.

    Returns:
        The folder, before_NNN; None where there was no history.
    """
    earlier = sorted(run_dir.path.glob("before_*"))
    kept = {run_dir.lock_path, *earlier}
    history = [path for path in run_dir.path.iterdir() if path not in kept]
    if not history:
        return None
    number = int(earlier[-1].name.removeprefix("before_")) + 1 if earlier else 1
    target = run_dir.path / f"before_{number:03d}"
    target.mkdir()
    for path in history:
        path.rename(target / path.name)
    return target


def choose_checkpoint(
    run_dir: RunDir,
    config: PretrainConfig,
    *,
    explicit: Path | None,
    overridden: Collection[str] = (),
) -> Path | None:
    """Return the verified checkpoint to continue from, or None to start at step 0.

    1. The checkpoint asked for explicitly, if it is whole; it may be another run's. A run that
       has started from it already and has gone on continues instead, as under 2.
    2. The newest complete checkpoint of the run directory; damaged newer ones are set aside, and
       those that rolling back has made obsolete are removed.
    3. Nothing, if the run directory never had a checkpoint: the caller initializes the model, from
       `run.init_from` or at random. If it had some and all are damaged or gone, that is an error: a
       run never falls back to step 0 by itself.

    Args:
        run_dir: The run directory.
        config: The config of this start.
        explicit: The checkpoint asked for.
        overridden: Fields of the config that may differ from the checkpoint's.

    Raises:
        CheckpointError: The checkpoint asked for, or all there are, cannot be used; the config
            defines another experiment; or the directory is ahead of the checkpoint asked for.
    """
    remove_leftovers(run_dir.path)
    drop_superseded(run_dir, read_windows(run_dir.skips_path))
    if explicit is not None and not _has_gone_on_from(run_dir, explicit):
        verify_checkpoint(explicit)
        chosen = explicit
        _check_not_ahead(run_dir, explicit)
        write_json(run_dir.origin_path, _identity(explicit))
    elif list_checkpoints(run_dir.path):
        chosen = find_checkpoint(run_dir.path)
        for newer in list_checkpoints(run_dir.path):
            if newer.name > chosen.name:
                set_aside(newer)
    else:
        _check_never_saved(run_dir)
        return None
    saved = read_state(chosen)["experiment"]
    check_experiment(config, saved, where=chosen, overridden=overridden)
    return chosen


def _check_never_saved(run_dir: RunDir) -> None:
    """Refuse a directory without a checkpoint that had one before."""
    if not run_dir.saved_path.exists():
        return
    try:
        step = json.loads(run_dir.saved_path.read_text(encoding="utf-8"))["step"]
    except (ValueError, KeyError, TypeError):
        step = "unknown"
    raise CheckpointError(
        "the run had checkpoints, and none is left",
        where=run_dir.path / "checkpoints",
        got=f"a run that had been saved at step {step}",
        expected="its newest checkpoint",
        hint="put one back; or start anew with --fresh, which keeps the old files in before_NNN/",
    )


def _has_gone_on_from(run_dir: RunDir, explicit: Path) -> bool:
    """Whether the run started from this checkpoint before and has some of its own since."""
    if not (run_dir.origin_path.exists() and list_checkpoints(run_dir.path)):
        return False
    verify_checkpoint(explicit)
    return json.loads(run_dir.origin_path.read_text(encoding="utf-8")) == _identity(explicit)


def _identity(checkpoint: Path) -> dict[str, str]:
    """Return what identifies a checkpoint, independent of its path."""
    return {"manifest_sha256": sha256_file(checkpoint / MANIFEST)}


def _check_not_ahead(run_dir: RunDir, explicit: Path) -> None:
    """Refuse a checkpoint older than the newest one of the run directory."""
    step = read_state(explicit)["step"]
    ahead = [
        d for d in list_checkpoints(run_dir.path) if d.name > run_dir.checkpoint_dir(step).name
    ]
    if ahead:
        raise CheckpointError(
            "the run directory has newer checkpoints than the one to resume from",
            where=explicit,
            got=ahead[-1].name,
            expected=f"none after step {step}",
            hint="continue it in another run.dir, or remove the newer ones",
        )
