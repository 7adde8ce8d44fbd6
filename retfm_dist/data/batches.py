"""Makes encoded micro-batches: samples read, replaced where they cannot be used, boxes drawn.

A sample that cannot be used is replaced by another one, chosen by the seed, the epoch and the
sample alone: first in the same tar, which is at hand, then in the whole set. The place keeps its
random numbers, so that the substitute is cropped and masked otherwise than at its own place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retfm_dist.data.augment import draw_boxes, draw_flips
from retfm_dist.data.decode import EncodedBatch
from retfm_dist.data.faults import EXCLUDED, Fault, Replacement
from retfm_dist.data.order import Draws
from retfm_dist.data.reader import SampleLocations, ShardReader
from retfm_dist.data.sampling import Sampling
from retfm_dist.errors import DataError
from retfm_dist.rng.streams import Stream, sample_words

_TRIES_IN_TAR = 4
_TRIES = 32
# 2**64 divided by the golden ratio: keeps the keys of a sample's repeats apart (Knuth, TAOCP 6.4).
_REPEAT_STRIDE = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class _Places:
    """The places of a micro-batch while they are filled.

    Attributes:
        locations: What belongs there.
        keys: uint64 [B], by which the random numbers of each place are drawn.
        tries: int64 [B], substitutes that have been tried.
        uids: uint64 [B] of what stands there.
        sizes: int64 [B, 2], its height and width, px.
        jpegs: Its bytes.
        reasons: Why a place has a substitute.
    """

    locations: SampleLocations
    keys: NDArray[np.uint64]
    tries: NDArray[np.int64]
    uids: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    jpegs: list[NDArray[np.uint8]]
    reasons: dict[int, Fault] = field(default_factory=dict)


class BatchMaker:
    """Makes the micro-batches of a rank.

    Args:
        reader: Reads samples.
        sampling: Which belong to this rank, and how they are augmented.
        excluded: uint64 [N], ascending; images that are always replaced.
    """

    def __init__(
        self, reader: ShardReader, sampling: Sampling, *, excluded: NDArray[np.uint64]
    ) -> None:
        """Keep the arguments."""
        self._reader = reader
        self._sampling = sampling
        self._excluded = excluded

    @property
    def excluded(self) -> NDArray[np.uint64]:
        """Images that are always replaced, ascending."""
        return self._excluded

    def want(self, step: int) -> None:
        """Let the tars of a step be fetched, where they are not at hand."""
        if self._reader.is_remote:
            for draws in self._sampling.draws(step):
                self._reader.want(draws.positions)

    def make(self, step: int, micro_step: int, draws: Draws) -> EncodedBatch:
        """Read a micro-batch.

        Args:
            step: Optimizer step.
            micro_step: Number within the step.
            draws: Its samples.

        Raises:
            DataError: The storage does not answer, or holds nothing that can be used.
        """
        locations = self._reader.locate(draws.positions)
        records = locations.records
        known = np.where(locations.is_sound, records["uid"], draws.positions.astype(np.uint64))
        places = _Places(
            locations=locations,
            keys=known + draws.repeats.astype(np.uint64) * _REPEAT_STRIDE,
            tries=np.zeros(len(draws), dtype=np.int64),
            uids=records["uid"].astype(np.uint64),
            sizes=np.stack([records["height"], records["width"]], axis=-1).astype(np.int64),
            jpegs=[],
        )
        places.jpegs, faults = self._read(locations)
        self._fill(step, places, faults)
        return self._finish(step, micro_step, places)

    def replace(self, batch: EncodedBatch, undecodable: Mapping[int, str]) -> EncodedBatch:
        """Return a micro-batch with other samples in place of some.

        Args:
            batch: As `make` or `replace` made it.
            undecodable: What is wrong with them, by their number in the batch.

        Raises:
            DataError: The storage does not answer, or holds nothing that can be used.
        """
        places = batch.places
        faults = {i: Fault(f"cannot be decoded: {why}") for i, why in undecodable.items()}
        self._fill(batch.step, places, faults)
        return self._finish(batch.step, batch.micro_step, places)

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()

    def _read(self, locations: SampleLocations) -> tuple[list[NDArray[np.uint8]], dict[int, Fault]]:
        """Read samples; what cannot be used is empty and stands in the faults."""
        faults: dict[int, Fault] = {}
        if len(self._excluded):
            is_excluded = np.isin(locations.records["uid"], self._excluded) & locations.is_sound
            faults = {int(i): EXCLUDED for i in np.flatnonzero(is_excluded)}
        wanted = [i for i in range(len(locations.positions)) if i not in faults]
        jpegs = [np.empty(0, dtype=np.uint8)] * len(locations.positions)
        for i, found in zip(wanted, self._reader.read(locations, wanted), strict=True):
            if isinstance(found, Fault):
                faults[i] = found
            else:
                jpegs[i] = found
        return jpegs, faults

    def _fill(self, step: int, places: _Places, faults: Mapping[int, Fault]) -> None:
        """Fill the places that are given with substitutes."""
        places.reasons |= {i: fault for i, fault in faults.items() if i not in places.reasons}
        waiting = sorted(faults)
        while waiting:
            found = self._reader.locate(self._substitutes(step, places, waiting))
            jpegs, bad = self._read(found)
            for number, i in enumerate(waiting):
                if number not in bad:
                    record = found.records[number]
                    places.jpegs[i] = jpegs[number]
                    places.uids[i] = record["uid"]
                    places.sizes[i] = record["height"], record["width"]
            waiting = [waiting[number] for number in sorted(bad)]

    def _substitutes(self, step: int, places: _Places, waiting: Iterable[int]) -> NDArray[np.int64]:
        """Return the position of the next substitute of each place."""
        epoch = self._sampling.order.epoch_of(step)
        positions = []
        for i in waiting:
            places.tries[i] += 1
            tries = int(places.tries[i])
            if tries > _TRIES:
                raise DataError(
                    f"nothing can be read in place of a sample, {_TRIES} others have been tried",
                    where=f"step {step}, {self._reader.place(places.locations, i)}",
                    got=places.reasons[i].reason,
                    hint="see that the shard set is there and whole: "
                    "`python -m retfm_dist.shard verify`",
                )
            key = places.keys[i : i + 1]
            seed = self._sampling.order.seed
            words = sample_words(seed, epoch, key, Stream.SUBSTITUTE, 2 * tries)[0]
            number = int(words[-1]) << 32 | int(words[-2])
            first, count = self._reader.span_of(
                int(places.locations.positions[i]), whole_set=tries > _TRIES_IN_TAR
            )
            positions.append(first + number % count)
        return np.array(positions, dtype=np.int64)

    def _finish(self, step: int, micro_step: int, places: _Places) -> EncodedBatch:
        """Draw boxes and flips."""
        sampling = self._sampling
        seed, epoch = sampling.order.seed, sampling.order.epoch_of(step)
        return EncodedBatch(
            step=step,
            micro_step=micro_step,
            epoch=epoch,
            uids=places.uids.copy(),
            keys=places.keys,
            jpegs=list(places.jpegs),
            boxes=draw_boxes(
                sampling.augmentation,
                seed=seed,
                epoch=epoch,
                uids=places.keys,
                heights=places.sizes[:, 0],
                widths=places.sizes[:, 1],
            ),
            flips=draw_flips(sampling.augmentation, seed=seed, epoch=epoch, uids=places.keys),
            replaced=tuple(self._describe(places)),
            places=places,
        )

    def _describe(self, places: _Places) -> Iterable[Replacement]:
        """Say what stands in place of what; what the run was told to leave out goes unsaid."""
        locations = places.locations
        for i, fault in sorted(places.reasons.items()):
            if fault is not EXCLUDED:
                uid = locations.records["uid"][i]
                yield Replacement(
                    uid=f"{uid:016x}" if locations.is_sound[i] else None,
                    shard=self._reader.place(locations, i),
                    row=int(locations.rows[i]),
                    reason=fault.reason,
                    substitute=f"{places.uids[i]:016x}",
                )
