"""Which of the ranks stands still, from what was last heard of each."""

from collections.abc import Sequence
from dataclasses import dataclass

_SLOW = ("starting", "saving")
_SLOW_FACTOR = 10
"""Starting compiles and loads; saving writes gigabytes to slow disks."""
_ENDED = "ended"
_ORDER = ("starting", "logging", "saving", "reading data", "computing", _ENDED)
"""What a rank does with one number of completed steps, one after the other."""
_MOST_NAMED = 4
_LATE_SHARE = 0.5
"""Of its time: a rank that has been idle for less is not blamed when another one's is over."""
_SILENT_S = 5.0
"""Five heartbeats in a row that are missing are no coincidence."""


@dataclass(frozen=True)
class Beat:
    """What a rank says of itself once a second.

    Attributes:
        rank: Which rank.
        host: Name of its host.
        step: Completed steps.
        doing: What it has been doing since its last progress.
        idle_s: Time since its last progress.
    """

    rank: int
    host: str
    step: int
    doing: str
    idle_s: float


@dataclass(frozen=True)
class Heard:
    """A heartbeat and when it came.

    Attributes:
        beat: The last one of its rank.
        at: Monotonic time, s.
    """

    beat: Beat
    at: float

    def idle_s(self, now: float) -> float:
        """Return the time since the rank's last progress that is known of."""
        return self.beat.idle_s + now - self.at


def find_stalled(heard: Sequence[Heard], *, now: float, timeout_s: float) -> list[Heard]:
    """Return the ranks that hold the others up; empty while there is progress.

    A rank stands still when it has made no progress for its time. When one does, the others wait
    for it and stand still too; so those that are silent are blamed first, then those that are
    furthest behind, by their step and what they do in it.

    Args:
        heard: The last heartbeat of each rank that was ever heard of.
        now: Monotonic time, s.
        timeout_s: Longest time without a heartbeat, and without progress; ten times that without
            progress while a rank starts or saves.
    """
    running = [item for item in heard if item.beat.doing != _ENDED]
    shares = [_share(item, now=now, timeout_s=timeout_s) for item in running]
    if max(shares, default=0.0) <= 1:
        return []
    # Whoever waits for another may have begun to wait before the other began to stand still.
    late = [item for item, share in zip(running, shares, strict=True) if share > _LATE_SHARE]
    silent = [item for item in late if now - item.at > _SILENT_S]
    if silent:
        return silent
    behind = min(_place(item.beat) for item in late)
    return [item for item in late if _place(item.beat) == behind]


def find_silent(heard: Sequence[Heard], *, now: float, timeout_s: float) -> list[Heard]:
    """Return the ranks that have not been heard of for longer than `timeout_s`."""
    return [item for item in heard if item.beat.doing != _ENDED and now - item.at > timeout_s]


def _place(beat: Beat) -> tuple[int, int]:
    return beat.step, _ORDER.index(beat.doing)


def _share(item: Heard, *, now: float, timeout_s: float) -> float:
    """Return the part of its time that a rank has used up without progress or a sign of life."""
    limit_s = timeout_s * (_SLOW_FACTOR if item.beat.doing in _SLOW else 1)
    return max(item.idle_s(now) / limit_s, (now - item.at) / timeout_s)


def describe_stall(stalled: Sequence[Heard], *, now: float) -> str:
    """Return one line that names the ranks that stand still, and what each did last."""
    parts = [
        f"rank {item.beat.rank} on {item.beat.host} has made no progress for "
        f"{item.idle_s(now):.0f} s: step {item.beat.step}, {item.beat.doing}"
        + (
            f", no heartbeat for {now - item.at:.0f} s (stopped, or its host or link has gone)"
            if now - item.at > _SILENT_S
            else ""
        )
        for item in stalled[:_MOST_NAMED]
    ]
    if len(stalled) > _MOST_NAMED:
        parts.append(f"and {len(stalled) - _MOST_NAMED} more ranks")
    return "; ".join(parts) + "; the last checkpoint stands (run.stall_timeout_s)"
