"""Copies checkpoints to an object store beside training, in a thread."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from retfm_dist.config import PretrainConfig
from retfm_dist.ranks.agreement import from_main
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.checkpoint.folder import Retention
from retfm_dist.train.run_copy import RunCopy
from retfm_dist.train.run_dir import RunDir

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def copying(config: PretrainConfig, run_dir: RunDir, ranks: Ranks) -> Iterator["Copier | None"]:
    """Copy while this lasts what is offered, and wait for the end of it unless training fails.

    Yields:
        What copies, on the main rank of a run that asks for it; None elsewhere.

    Raises:
        CheckpointError: The place holds another run, or cannot be used.
    """
    address = config.checkpoint.copy_to
    if address is None:
        yield None
        return
    copy = RunCopy(address, run_dir)
    from_main(copy.claim, ranks=ranks)
    if not ranks.is_main:
        yield None
        return
    copier = Copier(copy)
    yield copier
    copier.finish()


class Copier:
    """Copies checkpoints one at a time; one that waits gives way to a newer.

    A copy that fails is said and left: the run directory is what counts, and the next checkpoint
    is tried again.

    Args:
        copy: Where to.
    """

    def __init__(self, copy: RunCopy) -> None:
        """Start the thread."""
        self._copy = copy
        self._changed = threading.Condition()
        self._waiting: tuple[Path, Retention] | None = None
        self._current: Path | None = None
        # A daemon: a process that fails must not wait for a store.
        threading.Thread(target=self._run, name="checkpoint-copy", daemon=True).start()

    @property
    def in_use(self) -> set[Path]:
        """The checkpoints that must stay until they are copied."""
        with self._changed:
            waiting = {self._waiting[0]} if self._waiting else set()
            return waiting | ({self._current} if self._current else set())

    def offer(self, checkpoint_dir: Path, retention: Retention) -> None:
        """Copy a complete checkpoint as soon as the one before is copied.

        Args:
            checkpoint_dir: The checkpoint.
            retention: Which checkpoints stay in the copy.
        """
        with self._changed:
            self._waiting = checkpoint_dir, retention
            self._changed.notify_all()

    def finish(self) -> None:
        """Wait until everything is copied, the records of the run as they are now too."""
        with self._changed:
            if self._waiting or self._current:
                logger.info("waiting for the copy to %s", self._copy.address)
            self._changed.wait_for(lambda: not self._waiting and not self._current)
        with self._saying_what_fails("the records of the run"):
            self._copy.put_records()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                assert self._waiting is not None
                self._current, retention = self._waiting
                self._waiting = None
            with self._saying_what_fails(self._current.name):
                self._put(self._current, retention)
            with self._changed:
                self._current = None
                self._changed.notify_all()

    def _put(self, checkpoint_dir: Path, retention: Retention) -> None:
        begun_at = time.monotonic()
        try:
            self._copy.put(checkpoint_dir)
        except FileNotFoundError:
            if checkpoint_dir.exists():
                raise
            # The run has gone back to an earlier step, and what it makes there comes next.
            logger.info("%s has gone, and is not copied", checkpoint_dir.name)
            return
        self._copy.prune(retention)
        logger.info(
            "copied %s to %s in %.1f s",
            checkpoint_dir.name, self._copy.address, time.monotonic() - begun_at,
        )  # fmt: skip

    @contextlib.contextmanager
    def _saying_what_fails(self, what: str) -> Iterator[None]:
        try:
            yield
        # Whatever a client library raises: training must not end for its copy.
        except Exception as error:
            logger.warning(
                "%s: not copied to %s; got %s: %s; the run directory has it, and the next "
                "checkpoint is tried again",
                what, self._copy.address, type(error).__name__, error,
            )  # fmt: skip
