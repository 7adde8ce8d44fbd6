"""Verdict after a restart by torchrun or Slurm: go on, or stop because the same happened again.

A launcher restarts whatever has failed, also what must fail again. So every rank that fails leaves
a note, and a restarted job reads those of the attempts before: the same error at the same step
twice in a row stops it with the reason, everything else is taken for transient. A rank that was
lost without a word says less than an error, not even at which step: it must be lost three times in
a row without another checkpoint.
"""

import json
import os
import re
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from retfm_dist.durable import write_json
from retfm_dist.errors import RepeatedFailureError
from retfm_dist.ranks.agreement import from_main
from retfm_dist.ranks.orphans import find_ancestors, is_torchrun
from retfm_dist.ranks.world import Ranks

_TIMES = {True: 3, False: 2}
"""How often in a row, for a lost rank and for an error."""


@dataclass(frozen=True)
class Failure:
    """What one rank saw of the end of an attempt.

    Attributes:
        attempt: How often the job had been restarted.
        rank: Which rank.
        step: Completed steps.
        error: First line of the message.
        is_lost_rank: Whether another rank had gone, and this one only noticed.
        began: Checkpoint that the attempt began at.
    """

    attempt: int
    rank: int
    step: int
    error: str
    is_lost_rank: bool
    began: str


def restart_count(variables: Mapping[str, str] = os.environ) -> int:
    """Return how often this job has been restarted by torchrun, or by Slurm without it."""
    for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"):
        if name in variables:
            return int(variables[name])
    return 0


def note_failure(folder: Path, failure: Failure) -> None:
    """Leave a note of this rank's failure; a disk that refuses it changes nothing."""
    with suppress(OSError):
        name = f"attempt_{failure.attempt:04d}_rank_{failure.rank:04d}.json"
        write_json(folder / name, asdict(failure))


def read_failures(folder: Path, *, attempt: int) -> list[Failure]:
    """Return the notes of the attempts before one; those of an earlier job are removed.

    Args:
        folder: Where the notes are.
        attempt: The present one; 0 begins a job.
    """
    found = []
    for path in sorted(folder.glob("attempt_*.json")):
        with suppress(OSError, ValueError, TypeError):
            failure = Failure(**json.loads(path.read_text(encoding="utf-8")))
            if failure.attempt < attempt:
                found.append(failure)
                continue
        path.unlink(missing_ok=True)
    return found


def repeated_failure(failures: Iterable[Failure], *, attempt: int, begins: str) -> Failure | None:
    """Return what has ended the attempts before this one alike, or None to go on.

    Args:
        failures: Notes of the attempts before, of any rank.
        attempt: The present one.
        begins: Checkpoint that it begins at.
    """
    ends: dict[int, Failure] = {}
    for failure in failures:
        before = ends.get(failure.attempt)
        if before is None or _says_more(failure, before):
            ends[failure.attempt] = failure
    last = ends.get(attempt - 1)
    if last is None:
        return None
    for back in range(2, _TIMES[last.is_lost_rank] + 1):
        other = ends.get(attempt - back)
        if other is None or not _is_alike(other, last):
            return None
    return None if last.is_lost_rank and _is_further(ends, attempt, begins) else last


def refuse_repetition(folder: Path, *, begins: str, ranks: Ranks) -> None:
    """Refuse to go on when what ended the attempts before this one is bound to end it too.

    Args:
        folder: Where the notes are.
        begins: Checkpoint that this attempt begins at.
        ranks: Which rank this is; all call this.

    Raises:
        RepeatedFailureError: See above.
    """
    attempt = restart_count()

    def find() -> Failure | None:
        failures = read_failures(folder, attempt=attempt)
        return repeated_failure(failures, attempt=attempt, begins=begins)

    repeated = from_main(find, ranks=ranks)
    if repeated is not None:
        alike = (
            f"lost a rank before the checkpoint after {begins}"
            if repeated.is_lost_rank
            else f"ended at step {repeated.step} with the same error"
        )
        raise RepeatedFailureError(
            f"stopped instead of starting again: {_TIMES[repeated.is_lost_rank]} attempts in a row "
            f"{alike}",
            where=f"rank {repeated.rank}",
            got=repeated.error,
            hint="mend its reason and start the job anew",
        )


def stop_restarts() -> None:
    """Ask the torchrun that started this process, if one did, to end instead of restarting."""
    launcher = find_ancestors().launcher
    if launcher is not None and is_torchrun(launcher):
        with suppress(OSError):
            os.kill(launcher, signal.SIGTERM)


def _says_more(failure: Failure, before: Failure) -> bool:
    """Whether a note of the same attempt is to be preferred: an error, of the earliest step."""
    return (failure.is_lost_rank, failure.step, failure.rank) < (
        before.is_lost_rank,
        before.step,
        before.rank,
    )


def _is_alike(failure: Failure, other: Failure) -> bool:
    """Whether two attempts ended in the same way."""
    if failure.is_lost_rank or other.is_lost_rank:
        # Not at one step: others are a step or two further, and a heartbeat is up to a second old.
        return failure.is_lost_rank and other.is_lost_rank
    # Numbers in a message may be ports or addresses.
    texts = {re.sub(r"0x[0-9a-f]+|\d+", "#", item.error) for item in (failure, other)}
    return failure.step == other.step and len(texts) == 1


def _is_further(ends: Mapping[int, Failure], attempt: int, begins: str) -> bool:
    """Whether a checkpoint was made after the first of the last attempts that lost a rank."""
    return any(ends[attempt - back].began != begins for back in range(1, _TIMES[True]))
