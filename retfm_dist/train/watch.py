"""What watches over a run while it lasts: heartbeats of its ranks, and notes of how it failed."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

from retfm_dist.ranks.agreement import from_each
from retfm_dist.ranks.failure import is_lost_rank
from retfm_dist.ranks.heartbeat import Heartbeat
from retfm_dist.ranks.restarts import Failure, note_failure, restart_count
from retfm_dist.ranks.stalls import Beat
from retfm_dist.ranks.world import Ranks


@contextlib.contextmanager
def watching(
    failures_path: Path, *, began: str, stall_timeout_s: float | None, ranks: Ranks
) -> Iterator[Heartbeat]:
    """Send heartbeats while this lasts, watch the others', and leave a note of any failure.

    The notes are for the verdict on a restart: of an exception on this rank, and of another rank
    that has stood still.

    Args:
        failures_path: Where the notes go.
        began: Checkpoint that this attempt begins at.
        stall_timeout_s: After how long without progress a rank counts as standing still; None is
            never.
        ranks: Which rank this is; all call this.
    """
    with contextlib.closing(Heartbeat(ranks, timeout_s=stall_timeout_s or math.inf)) as heartbeat:

        def note(rank: int, step: int, text: str, is_lost: bool) -> None:
            note_failure(failures_path, Failure(restart_count(), rank, step, text, is_lost, began))

        def note_stall(beat: Beat) -> None:
            note(beat.rank, beat.step, f"no progress while {beat.doing}", True)

        heartbeat.start(from_each(heartbeat.peer), on_stall=note_stall)
        try:
            yield heartbeat
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            note(ranks.rank, heartbeat.step, text, is_lost_rank(error))
            raise
