"""The copy of a run in an object store, from which a host that lost its disk goes on.

It has the layout of a run directory, without pictures of patients:

    ADDRESS/
        begun.json, config.yaml, metrics.jsonl, ...    as they were when the newest checkpoint came
        checkpoints/step_XXXXXXXX/                     whole where there is a manifest.json

A checkpoint's manifest is removed first and written last, so a copy that was cut off anywhere is
no checkpoint. begun.json says whose copy it is; that of another run is never written over.
"""

import contextlib
import json
import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from retfm_dist.errors import CheckpointError, DamagedCheckpointError
from retfm_dist.object_store import ObjectStore
from retfm_dist.train.checkpoint.folder import Retention, list_checkpoints, step_of
from retfm_dist.train.checkpoint.layout import MANIFEST
from retfm_dist.train.checkpoint.verify import verify_checkpoint
from retfm_dist.train.effective_time import read_begin
from retfm_dist.train.rollback import is_superseded
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.skips import read_windows

logger = logging.getLogger(__name__)

_TIMEOUT_S = 60.0


class RunCopy:
    """A run's copy in an object store; for the main rank only.

    Args:
        address: Such as s3://bucket/run.
        run_dir: The run directory.
        timeout_s: Longest time without an answer.

    Raises:
        ConfigError: The protocol is unknown, or its library is not installed.
    """

    def __init__(self, address: str, run_dir: RunDir, *, timeout_s: float = _TIMEOUT_S) -> None:
        """Connect to nothing yet."""
        self.address = address
        self._run_dir = run_dir
        self._store = ObjectStore(address, timeout_s=timeout_s)
        self._sent: dict[str, tuple[int, int]] = {}
        self._newest: Path | None = None

    def claim(self) -> None:
        """Write whose copy this is, before there is anything to copy.

        Raises:
            CheckpointError: It is another run's, or the store refuses or does not answer.
        """
        begun_at = read_begin(self._run_dir.begun_path)
        with self._asking():
            owner = self._read_owner()
            if owner is None:
                self._store.upload(self._run_dir.begun_path, self._run_dir.begun_path.name)
            elif owner != begun_at:
                raise CheckpointError(
                    "this place holds the copy of another run",
                    where=self.address,
                    got=f"a run begun at {owner:.0f} s since 1970",
                    expected=f"{begun_at:.0f}, as in {self._run_dir.begun_path}",
                    hint="choose another checkpoint.copy_to",
                )

    def fetch(self) -> Path | None:
        """Fill a run directory that has no checkpoint with the newest whole one of the copy.

        Files that the directory has already are left as they are.

        Returns:
            The checkpoint; None where there is nothing to fetch.

        Raises:
            CheckpointError: The copy is another run's or is damaged, or the store refuses or does
                not answer.
        """
        if list_checkpoints(self._run_dir.path) or self._run_dir.done_path.exists():
            return None
        with self._asking():
            names = self._store.list_files()
            steps = sorted(_steps_in(names), reverse=True)
            if not steps:
                return None
            if self._run_dir.begun_path.exists():
                self.claim()
            # The mark of a finished run comes last: without its checkpoint it must not count.
            *records, done = _records(self._run_dir)
            self._fetch_records(records, names)
            checkpoint = self._fetch_newest(steps, names)
            self._fetch_records([done], names)
        logger.warning(
            "no checkpoint in %s: fetched %s from %s",
            self._run_dir.path, checkpoint.name, self.address,
        )  # fmt: skip
        return checkpoint

    def put(self, checkpoint_dir: Path) -> None:
        """Copy a checkpoint and the records of the run.

        What a copy that was cut off, or a run that has gone back, left behind is removed.

        Args:
            checkpoint_dir: A complete checkpoint of the run directory.

        Raises:
            OSError: The store refuses or does not answer, or the checkpoint has gone.
        """
        names = self._store.list_files()
        whole = _steps_in(names)
        for step in _steps_in(names, file=".+"):
            if step >= step_of(checkpoint_dir) or step not in whole:
                self._remove(step, names)
        files = sorted(checkpoint_dir.iterdir(), key=lambda path: path.name == MANIFEST)
        for path in files[:-1]:
            self._store.upload(path, _name_of(checkpoint_dir, path.name))
        self.put_records()
        self._store.upload(files[-1], _name_of(checkpoint_dir, MANIFEST))
        self._newest = checkpoint_dir

    def put_records(self) -> None:
        """Copy what has changed of the run beside its checkpoints.

        That it has finished is told once its last checkpoint is there.

        Raises:
            OSError: The store refuses or does not answer.
        """
        *records, done = _records(self._run_dir)
        is_whole = self._newest in list_checkpoints(self._run_dir.path)[-1:]
        for path in [*records, done] if is_whole else records:
            if not path.exists():
                continue
            facts = path.stat()
            version = (facts.st_size, facts.st_mtime_ns)
            if self._sent.get(path.name) != version:
                self._store.upload(path, path.name)
                self._sent[path.name] = version

    def complete(self) -> None:
        """Copy what is lacking of a finished run: its last checkpoint, and its records.

        Raises:
            CheckpointError: The copy is another run's, or the store refuses or does not answer.
        """
        with self._asking():
            self.claim()
            for newest in list_checkpoints(self._run_dir.path)[-1:]:
                if step_of(newest) not in _steps_in(self._store.list_files()):
                    logger.info("copying %s to %s", newest.name, self.address)
                    self.put(newest)
                self._newest = newest
            self.put_records()

    def prune(self, retention: Retention) -> None:
        """Remove old checkpoints of the copy.

        Args:
            retention: Which stay.

        Raises:
            OSError: The store refuses or does not answer.
        """
        names = self._store.list_files()
        for step in retention.expired(sorted(_steps_in(names))):
            self._remove(step, names)

    def _fetch_records(self, paths: Sequence[Path], names: set[str]) -> None:
        for path in paths:
            if path.name in names and not path.exists():
                self._download(path.name, path)

    def _fetch_newest(self, steps: list[int], names: set[str]) -> Path:
        """Fetch the newest checkpoint that is whole and that going back has not made obsolete."""
        windows = read_windows(self._run_dir.skips_path)
        reasons = []
        for step in steps:
            target = self._run_dir.checkpoint_dir(step)
            staging = target.with_name(f".{target.name}.partial")
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            prefix = _name_of(target, "")
            for name in sorted(name for name in names if name.startswith(prefix)):
                self._download(name, staging / name.removeprefix(prefix))
            try:
                verify_checkpoint(staging)
            except DamagedCheckpointError as error:
                logger.warning("copy of a checkpoint passed over: %s", error)
                reasons.append(str(error))
                shutil.rmtree(staging)
                continue
            if is_superseded(staging, windows):
                shutil.rmtree(staging)
                continue
            staging.rename(target)
            return target
        raise CheckpointError(
            f"none of {len(steps)} checkpoints of the copy can be used",
            where=self.address,
            got=reasons[0] if reasons else "steps that the run has gone back before",
            hint="start anew with --fresh and another checkpoint.copy_to",
        )

    def _download(self, name: str, path: Path) -> None:
        """Fetch a file; a kill leaves none that looks whole."""
        partial = path.with_name(f".{path.name}.partial")
        self._store.download(name, partial)
        partial.rename(path)

    def _remove(self, step: int, names: set[str]) -> None:
        """Remove a checkpoint of the copy, its manifest first."""
        prefix = _name_of(self._run_dir.checkpoint_dir(step), "")
        doomed = [name for name in names if name.startswith(prefix)]
        for name in sorted(doomed, key=lambda name: not name.endswith(f"/{MANIFEST}")):
            self._store.remove(name)

    def _read_owner(self) -> float | None:
        """Return when the run began whose copy this is; None where there is none."""
        name = self._run_dir.begun_path.name
        if not self._store.exists(name):
            return None
        partial = self._run_dir.begun_path.with_name(f".{name}.partial")
        try:
            self._store.download(name, partial)
            return float(json.loads(partial.read_text(encoding="utf-8"))["unix_s"])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError("damaged", where=f"{self.address}/{name}") from error
        finally:
            partial.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Say of a failure which store could not be used."""
        try:
            yield
        except OSError as error:
            raise CheckpointError(
                "cannot use the place for a copy of the run",
                where=self.address,
                got=error,
                hint="check the address, its credentials and the network; or start with "
                "checkpoint.copy_to=null",
            ) from error


def _steps_in(names: set[str], *, file: str = MANIFEST) -> set[int]:
    """Return the steps of the checkpoints that have a file, so that by default they are whole.

    Args:
        names: All files of a copy.
        file: Regular expression of its name.
    """
    found = (re.fullmatch(rf"checkpoints/step_(\d{{8}})/{file}", name) for name in names)
    return {int(match[1]) for match in found if match}


def _name_of(checkpoint_dir: Path, file: str) -> str:
    return f"checkpoints/{checkpoint_dir.name}/{file}"


def _records(run_dir: RunDir) -> tuple[Path, ...]:
    """Return what a start needs beside a checkpoint, or tells of the run; no pictures."""
    return (
        run_dir.begun_path, run_dir.config_path, run_dir.environment_path, run_dir.cohort_path,
        run_dir.membership_path, run_dir.metrics_path, run_dir.tracking_path, run_dir.origin_path,
        run_dir.saved_path, run_dir.skips_path, run_dir.overrides_path, run_dir.anomalies_path,
        run_dir.bad_samples_path, run_dir.done_path,
    )  # fmt: skip
