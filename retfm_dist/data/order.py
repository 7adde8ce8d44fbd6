"""Sample order: which samples form each global batch.

Every epoch is a new shuffle of the whole shard set, cut into global batches; the tail that does
not fill one is left out, another tail each epoch. A batch is computed from its step alone: no
list of samples is held, and the number of ranks does not appear.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retfm_dist.errors import DataError
from retfm_dist.rng.feistel import permute
from retfm_dist.rng.streams import Stream, sample_words


@dataclass(frozen=True)
class SampleOrder:
    """The order of samples over a whole run.

    Attributes:
        num_samples: Samples in the shard set, N.
        global_batch_size: Samples per optimizer step over all ranks, GBS.
        seed: Seed of the run.

    Raises:
        DataError: There are fewer samples than one global batch takes.
    """

    num_samples: int
    global_batch_size: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse a shard set smaller than one global batch."""
        if self.num_samples < self.global_batch_size:
            raise DataError(
                "the shard set is smaller than one global batch",
                where="schedule.global_batch_size",
                got=f"{self.num_samples} samples",
                expected=f"at least {self.global_batch_size}",
                hint="pack more images or lower schedule.global_batch_size",
            )

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch: floor(N / GBS)."""
        return self.num_samples // self.global_batch_size

    def epoch_of(self, step: int) -> int:
        """Return the 0-based epoch that a step belongs to."""
        return step // self.steps_per_epoch

    def positions(self, step: int) -> NDArray[np.int64]:
        """Return the samples of global batch `step`: int64 [GBS] positions in the shard set."""
        assert step >= 0, f"step is {step}"
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        first = step_in_epoch * self.global_batch_size
        indices = np.arange(first, first + self.global_batch_size)
        return permute(indices, self.num_samples, self._epoch_key(epoch))

    def _epoch_key(self, epoch: int) -> NDArray[np.uint32]:
        """Return uint32 [2], the key of the epoch's permutation."""
        no_sample = np.zeros(1, dtype=np.uint64)
        return sample_words(self.seed, epoch, no_sample, Stream.ORDER, 2)[0]
