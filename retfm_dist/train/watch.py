"""What watches over a run while it lasts: heartbeats of its ranks, and notes of how it failed."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retfm_dist.ranks.agreement import from_each
from retfm_dist.ranks.failure import is_lost_rank
from retfm_dist.ranks.heartbeat import Heartbeat
from retfm_dist.ranks.restarts import Failure, note_failure, restart_count
from retfm_dist.ranks.stalls import Beat
from retfm_dist.ranks.world import Ranks


@dataclass(frozen=True)
class FailureNotes:
    """What the verdict on a restart is made from.

    Attributes:
        folder: Where notes go.
        began: Checkpoint that this attempt begins at.
        ranks: Which rank this is.
    """

    folder: Path
    began: str
    ranks: Ranks

    @contextlib.contextmanager
    def noting(self, heartbeat: Heartbeat) -> Iterator[None]:
        """Leave a note of any exception that passes, and let it pass.

        A launcher ends the other ranks a moment after one is lost, so that the note must be there
        before anything is closed.

        Args:
            heartbeat: Knows the step.
        """
        try:
            yield
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            self.leave(self.ranks.rank, heartbeat.step, text, is_lost=is_lost_rank(error))
            raise

    def leave(self, rank: int, step: int, text: str, *, is_lost: bool) -> None:
        """Leave a note of how a rank ended."""
        failure = Failure(restart_count(), rank, step, text, is_lost, self.began)
        note_failure(self.folder, failure)


@contextlib.contextmanager
def watching(notes: FailureNotes, *, stall_timeout_s: float | None) -> Iterator[Heartbeat]:
    """Send heartbeats while this lasts, watch the others', and leave a note of any failure.

    All ranks call this.

    Args:
        notes: Takes the exceptions of this rank, and another rank that has stood still.
        stall_timeout_s: After how long without progress a rank counts as standing still; None is
            never.
    """
    timeout_s = stall_timeout_s or math.inf
    with contextlib.closing(Heartbeat(notes.ranks, timeout_s=timeout_s)) as heartbeat:

        def note_stall(beat: Beat) -> None:
            notes.leave(beat.rank, beat.step, f"no progress while {beat.doing}", is_lost=True)

        heartbeat.start(from_each(heartbeat.peer), on_stall=note_stall)
        with notes.noting(heartbeat):
            yield heartbeat
