"""The order of one shard set: shuffled whole, or in lanes and windows that touch few tars at once.

The tars of a set are shuffled and laid end to end; the sequence is cut into lanes of equal
length, each lane into windows, and each window is shuffled:

    tars       | 7          | 2          | 5          | 0          |
    lanes      |     lane 0              |     lane 1              |
    windows    |  w 0   |  w 1   |  w 2  |  w 0   |  w 1   |  w 2  |

A rank that reads the same lanes at every step needs only the tars under their present windows.
One lane with one window is the shuffle of the whole set, which leaves no tar out at any time.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from retfm_dist.rng.feistel import permute, permute_each
from retfm_dist.rng.streams import Stream, sample_words

_TARS = 1 << 48  # apart from the keys of windows, whose numbers stay below


@dataclass(frozen=True)
class Shuffle:
    """How far a shuffle reaches.

    Attributes:
        seed: Seed of the run.
        lanes: Number of lanes, L.
        window: Samples that are shuffled together; None is a whole lane.
    """

    seed: int
    lanes: int = 1
    window: int | None = None


class LaneOrder:
    """The order of one set over a whole run.

    Args:
        starts: int64 [num_shards + 1], position of each tar's first sample, then their number.
        number: Number of the set among those that are mixed; each has its own order.
        shuffle: How it is shuffled.
    """

    def __init__(self, starts: NDArray[np.int64], *, number: int, shuffle: Shuffle) -> None:
        """Keep the arguments."""
        self._starts = starts
        self._number = number
        self._shuffle = shuffle
        self.num_samples = int(starts[-1])
        self.lane_length = self.num_samples // shuffle.lanes
        """Samples of each lane in a pass; the few that are over change from pass to pass."""
        # A pass, and the one before it where a step reaches over the end of an epoch.
        self._tars_end_to_end = lru_cache(4)(self._lay_out)

    def positions(
        self, epoch: int, lanes: NDArray[np.int64], indices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the samples at places of lanes.

        Args:
            epoch: Pass over the data.
            lanes: int64 [N] in [0, L).
            indices: int64 [N] places in the lanes; beyond the lane's length it is passed again.

        Returns:
            int64 [N] positions in the set, and int64 [N] how often the lane had been passed before
            in this epoch.
        """
        repeats, indices = np.divmod(indices, self.lane_length)
        positions = np.empty_like(indices)
        for repeat in np.unique(repeats).tolist():
            chosen = repeats == repeat
            places = self._shuffled(epoch, repeat, lanes[chosen], indices[chosen])
            positions[chosen] = self._in_tars(epoch, repeat, places)
        return positions, repeats

    def _shuffled(
        self, epoch: int, repeat: int, lanes: NDArray[np.int64], indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return places in the sequence of tars: indices, moved within their windows."""
        length = self._shuffle.window or self.lane_length
        windows, offsets = np.divmod(indices, length)
        sizes = np.minimum(length, self.lane_length - windows * length)
        numbers = lanes * -(-self.lane_length // length) + windows
        key = self._key(epoch, repeat, 0)
        moved = permute_each(offsets, sizes, numbers, key)
        return lanes * self.num_samples // self._shuffle.lanes + windows * length + moved

    def _in_tars(self, epoch: int, repeat: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Map places in the sequence of shuffled tars to positions in the set."""
        if self._shuffle.lanes == 1 and (self._shuffle.window or self.num_samples) >= (
            self.num_samples
        ):
            return places  # a shuffle of everything needs no shuffle of tars before it
        begins, first = self._tars_end_to_end(epoch, repeat)
        tars = np.searchsorted(begins, places, side="right") - 1
        return first[tars] + places - begins[tars]

    def _lay_out(self, epoch: int, repeat: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Shuffle the tars: where each begins in the sequence, and where in the set."""
        num_tars = len(self._starts) - 1
        tars = permute(np.arange(num_tars), num_tars, self._key(epoch, repeat, _TARS))
        counts = np.diff(self._starts)[tars]
        return np.cumsum(counts) - counts, self._starts[tars]

    def _key(self, epoch: int, repeat: int, purpose: int) -> NDArray[np.uint32]:
        """Return uint32 [2], the key of a pass."""
        number = np.array([purpose | repeat << 16 | self._number], dtype=np.uint64)
        return sample_words(self._shuffle.seed, epoch, number, Stream.ORDER, 2)[0]
