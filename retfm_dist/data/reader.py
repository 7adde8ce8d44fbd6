"""Encoded samples by position, from one shard set or several, each one checked.

Positions count through the sets, and in each through its tars in the order of its manifest. What
is wrong with a single sample is an answer, not an exception: training goes on with another one.
"""

import logging
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retfm_dist.data.faults import Fault
from retfm_dist.data.shard_set import ShardSet
from retfm_dist.data.timed_calls import NotTriedError, TimedCalls
from retfm_dist.errors import DataError
from retfm_dist.shard.set_index import RECORD_DTYPE

_START_OF_IMAGE = b"\xff\xd8"
_END_OF_IMAGE = b"\xff\xd9"
_LATE_FOR = 10
"""Times the time limit: how long a tar that has not answered is left alone."""
_DAMAGED_RECORD = Fault("its record in the index of the set is damaged")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleLocations:
    """Where the samples of a batch lie.

    Attributes:
        positions: int64 [B], in all sets.
        sets: int64 [B], number of each sample's set.
        shards: int64 [B], number of its tar in the set.
        rows: int64 [B], its number in the tar.
        records: [B] of `RECORD_DTYPE`.
        is_sound: bool [B], whether the record can be believed.
    """

    positions: NDArray[np.int64]
    sets: NDArray[np.int64]
    shards: NDArray[np.int64]
    rows: NDArray[np.int64]
    records: NDArray[np.void]
    is_sound: NDArray[np.bool_]


class ShardReader:
    """Reads shard sets.

    Args:
        sets: The sets, in the order in which positions count; closed with the reader.
        num_threads: Reads in flight at once; they wait for storage, not for a core.
        timeout_s: Longest that a read may take.
        name: Who reads, for messages, such as "rank 3".
    """

    def __init__(
        self,
        sets: Sequence[ShardSet],
        *,
        num_threads: int = 4,
        timeout_s: float = 30.0,
        name: str = "this process",
    ) -> None:
        """Start the reading threads."""
        self._sets = sets
        counts = [shard_set.index.num_samples for shard_set in sets]
        # [sets + 1], the position of each set's first sample, then the number of samples.
        self._bases = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._name = name
        self._timeout_s = timeout_s
        self._num_threads = num_threads
        # Tars that have not answered, and when that was.
        self._late: dict[tuple[int, int], float] = {}
        self._calls = TimedCalls(num_threads, timeout_s=timeout_s, name="retfm-read")

    @property
    def num_samples(self) -> int:
        """Number of samples in all sets."""
        return int(self._bases[-1])

    @property
    def is_remote(self) -> bool:
        """Whether tars of a set have to be fetched before they are read."""
        return any(shard_set.is_remote for shard_set in self._sets)

    def want(self, positions: NDArray[np.int64]) -> None:
        """Let the tars of samples that are read soon be fetched, in the samples' order."""
        sets = np.searchsorted(self._bases, positions, side="right") - 1
        for number in np.unique(sets).tolist():
            shard_set = self._sets[number]
            shards = shard_set.index.shards_of(positions[sets == number] - self._bases[number])
            shard_set.files.want(dict.fromkeys(shards.tolist()))

    def locate(self, positions: NDArray[np.int64]) -> SampleLocations:
        """Look samples up in the indexes.

        Args:
            positions: int64 [B] in [0, num_samples).

        Raises:
            DataError: An index does not answer.
        """
        place = self._sets[0].directory
        # One call: threads that read 32 bytes each would wait for the interpreter, not for storage.
        (found,) = self._calls.map(
            self._locate_some,
            [positions],
            on_wait=lambda _, seconds: self._tell_wait(place, seconds),
        )
        if isinstance(found, OSError):
            raise DataError(
                "cannot read the index of the shard set",
                where=f"{self._name}, {place}",
                got=found.strerror or found,
                hint="see that the storage answers; the same command continues the run",
            ) from found
        if isinstance(found, BaseException):
            raise found
        return found

    def read(
        self, locations: SampleLocations, wanted: Sequence[int] | None = None
    ) -> list[NDArray[np.uint8] | Fault]:
        """Read and check the JPEG bytes of samples.

        Args:
            locations: Where they lie.
            wanted: Which of them; None is all.

        Returns:
            One uint8 [size] array per sample wanted, in order, or what is wrong with it.

        Raises:
            DataError: The storage does not answer.
        """
        rows = range(len(locations.positions)) if wanted is None else wanted
        answers: dict[int, NDArray[np.uint8] | Fault | BaseException] = {}
        while len(answers) < len(rows):
            # The second time around, tars that do not answer are refused at once.
            open_rows = [i for i in rows if i not in answers]
            found = self._calls.map(
                lambda i: self._read_sample(locations, i),
                open_rows,
                on_wait=lambda i, seconds: self._tell_wait(self.place(locations, i), seconds),
            )
            tried = {
                i: answer
                for i, answer in zip(open_rows, found, strict=True)
                if not isinstance(answer, NotTriedError)
            }
            self._note_late(locations, tried)
            answers |= tried
        return [_judge(answers[i]) for i in rows]

    def place(self, locations: SampleLocations, i: int) -> str:
        """Return path or address of the tar of sample i."""
        return self._sets[int(locations.sets[i])].files.place(int(locations.shards[i]))

    def span_of(self, position: int, *, whole_set: bool) -> tuple[int, int]:
        """Return first position and number of samples of the tar, or the set, of a position."""
        number = int(np.searchsorted(self._bases, position, side="right")) - 1
        base, index = int(self._bases[number]), self._sets[number].index
        if whole_set:
            return base, index.num_samples
        shard = int(index.shards_of(np.array([position - base]))[0])
        first, end = index.starts[shard : shard + 2].tolist()
        return base + first, end - first

    def close(self) -> None:
        """Stop the reading threads and close the files."""
        self._calls.close()
        for shard_set in self._sets:
            shard_set.close()

    def _locate_some(self, positions: NDArray[np.int64]) -> SampleLocations:
        sets = np.searchsorted(self._bases, positions, side="right") - 1
        shards, rows = np.empty_like(positions), np.empty_like(positions)
        records = np.zeros(len(positions), dtype=RECORD_DTYPE)
        is_sound = np.zeros(len(positions), dtype=bool)
        for number in np.unique(sets).tolist():
            chosen = sets == number
            index, inside = self._sets[number].index, positions[chosen] - self._bases[number]
            shards[chosen] = index.shards_of(inside)
            rows[chosen] = inside - index.starts[shards[chosen]]
            records[chosen], is_sound[chosen] = index.records(inside)
        return SampleLocations(positions, sets, shards, rows, records, is_sound)

    def _read_sample(self, locations: SampleLocations, i: int) -> NDArray[np.uint8] | Fault:
        """Read one sample and compare it with its record."""
        if not locations.is_sound[i]:
            return _DAMAGED_RECORD
        number, shard = int(locations.sets[i]), int(locations.shards[i])
        if self._is_late((number, shard)):
            raise TimeoutError("its tar has not answered before")
        record = locations.records[i]
        size, crc32 = int(record["size"]), int(record["crc32"])
        jpeg = self._sets[number].files.read(shard, size, int(record["offset"]))
        if len(jpeg) != size:
            return Fault(f"the tar is cut short: {len(jpeg)} of {size} bytes")
        if (found := zlib.crc32(jpeg)) != crc32:
            return Fault(f"damaged: crc32 {found:08x}, expected {crc32:08x}")
        if not (jpeg.startswith(_START_OF_IMAGE) and jpeg.endswith(_END_OF_IMAGE)):
            return Fault(f"not a whole JPEG: {jpeg[:2].hex()}...{jpeg[-2:].hex()}")
        return np.frombuffer(jpeg, dtype=np.uint8)

    def _note_late(self, locations: SampleLocations, answers: Mapping[int, object]) -> None:
        """Remember tars that do not answer; refuse to go on where none does."""
        late = [i for i, answer in answers.items() if isinstance(answer, TimeoutError)]
        tars = {(int(locations.sets[i]), int(locations.shards[i])) for i in late}
        fresh = {tar: time.monotonic() for tar in tars if not self._is_late(tar)}
        self._late |= fresh
        recent = [tar for tar in self._late if self._is_late(tar)]
        if fresh and len(recent) >= self._num_threads:
            raise DataError(
                "the storage does not answer",
                where=f"{self._name}, {self.place(locations, late[0])}",
                got=f"no answer within {self._timeout_s:g} s from {len(recent)} tars",
                hint="see that the storage is mounted and reachable; the same command continues "
                "the run (data.read_timeout_s)",
            )

    def _is_late(self, tar: tuple[int, int]) -> bool:
        """Whether a tar has not answered lately; after a while it is asked again."""
        begun_at = self._late.get(tar)
        return begun_at is not None and time.monotonic() - begun_at < _LATE_FOR * self._timeout_s

    def _tell_wait(self, place: object, seconds: float) -> None:
        logger.warning("%s has waited %.0f s for %s", self._name, seconds, place)


def _judge(answer: "NDArray[np.uint8] | Fault | BaseException") -> "NDArray[np.uint8] | Fault":
    """Turn what storage refuses into a fault of the sample; anything else is a bug."""
    if isinstance(answer, TimeoutError):
        return Fault(str(answer))
    if isinstance(answer, OSError):
        return Fault(f"cannot be read: {answer.strerror or answer}")
    if isinstance(answer, BaseException):
        raise answer
    return answer
