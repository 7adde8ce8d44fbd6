"""What is wrong with a sample, and what was trained on in its place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """Why a sample cannot be used.

    Attributes:
        reason: One line for a log.
    """

    reason: str


EXCLUDED = Fault("excluded by data.exclude_uids")


@dataclass(frozen=True)
class Replacement:
    """A sample that could not be used, and the one in its place.

    Attributes:
        uid: 16 hex digits; None where its record in the index is damaged.
        shard: Path of its tar.
        row: Number of the sample in the tar, 0-based.
        reason: What is wrong with it.
        substitute: Uid of the sample that was trained on instead.
    """

    uid: str | None
    shard: str
    row: int
    reason: str
    substitute: str
