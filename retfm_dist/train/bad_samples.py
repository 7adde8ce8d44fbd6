"""Samples that could not be used: a log of each, a count per epoch, and the limit of it.

{"step": 310, "epoch": 2, "rank": 1, "uid": "0f3c9e5a71b2d846", "shard": "shards/000001.tar",
 "row": 7, "reason": "damaged: crc32 4f1c22aa, expected 9be80d13", "substitute": "83b1..."}

One line each in bad_samples.jsonl, in every epoch again. Which samples are bad, and what stands in
their place, does not depend on the number of ranks.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retfm_dist.errors import TooManyBadSamplesError
from retfm_dist.ranks.agreement import from_each, from_main
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.interfaces import Replacement
from retfm_dist.train.logs import append_lines

_MOST_SHOWN = 5

logger = logging.getLogger(__name__)


class BadSamples:
    """Counts the samples of an epoch that could not be used.

    Args:
        path: The log.
        most: Largest number in an epoch.
        steps_per_epoch: Steps of an epoch.
        ranks: Which rank this is.
        begun: `state` of the checkpoint that this start continues; None at step 0.
    """

    def __init__(
        self,
        path: Path,
        *,
        most: int,
        steps_per_epoch: int,
        ranks: Ranks,
        begun: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin at zero, or go on counting."""
        self._path = path
        self._most = most
        self._steps_per_epoch = steps_per_epoch
        self._ranks = ranks
        # Whoever starts again after the limit was passed has been told, and counts anew.
        is_counting = begun is not None and begun["count"] <= most
        self._epoch: int = begun["epoch"] if begun else 0
        self._count: int = begun["count"] if begun and is_counting else 0
        self._of_shards: Counter[str] = Counter()
        self._fresh: list[tuple[int, Replacement]] = []
        self._told: set[tuple[str, int]] = set()

    def state(self) -> dict[str, Any]:
        """Return what the next start needs to go on counting."""
        return {"epoch": self._epoch, "count": self._count}

    def note(self, step: int, replaced: Sequence[Replacement]) -> None:
        """Take what this rank's batches of a step say; the step is 0-based."""
        self._fresh.extend((step, item) for item in replaced)

    @property
    def has_fresh(self) -> bool:
        """Whether this rank has something to tell the others."""
        return bool(self._fresh)

    def share(self) -> None:
        """Tell the other ranks, count and log; all ranks call this where one has something fresh.

        Raises:
            SystemFailureError: The disk is full or refuses.
        """
        of_each = from_each([(step, vars(item)) for step, item in self._fresh])
        self._fresh = []
        lines = [
            {"step": step, "epoch": step // self._steps_per_epoch, "rank": rank, **item}
            for rank, items in enumerate(of_each)
            for step, item in items
        ]
        lines.sort(key=lambda line: line["step"])
        for line in lines:
            self._count_one(line)
        from_main(lambda: append_lines(self._path, lines), ranks=self._ranks)
        if self._ranks.is_main:
            self._tell(lines)

    def _count_one(self, line: Mapping[str, Any]) -> None:
        if line["epoch"] != self._epoch:
            if self.are_too_many:
                return  # What ends the run is the epoch before.
            self._epoch, self._count, self._of_shards = line["epoch"], 0, Counter()
        self._count += 1
        self._of_shards[line["shard"]] += 1

    @property
    def are_too_many(self) -> bool:
        """Whether there are more than may be, the same on all ranks."""
        return self._count > self._most

    def refusal(self) -> TooManyBadSamplesError:
        """Return the error that ends the run."""
        shards = [f"{shard}: {count}" for shard, count in self._of_shards.most_common(_MOST_SHOWN)]
        return TooManyBadSamplesError(
            f"too many images cannot be used: {self._count} in epoch {self._epoch}",
            where=self._path,
            got=", ".join(shards),
            expected=f"at most {self._most} (data.max_bad_ratio)",
            hint="the step is saved: run `python -m retfm_dist.shard verify --full`, copy the set "
            "again or allow for more, and give the same command",
        )

    def _tell(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Warn of what this process has not warned of before."""
        fresh = [line for line in lines if (line["shard"], line["row"]) not in self._told]
        self._told.update((line["shard"], line["row"]) for line in fresh)
        for line in fresh[:_MOST_SHOWN]:
            logger.warning(
                "step %d: another image is trained on in place of %s in %s, sample %d: %s",
                line["step"], line["uid"], line["shard"], line["row"], line["reason"],
            )  # fmt: skip
        if len(fresh) > _MOST_SHOWN:
            more = len(fresh) - _MOST_SHOWN
            logger.warning("and of %d more, see %s", more, self._path.name)


def most_bad_samples(ratio: float, *, num_samples: int) -> int:
    """Return how many samples of an epoch may be bad: the ratio's, at least one unless it is 0."""
    return max(int(ratio * num_samples), 1) if ratio else 0
