"""The data loader of one rank: micro-batches of images, prepared in background threads.

    reading thread    positions in the sample order -> crop boxes, flips, checked JPEG bytes
    decoding thread   JPEG bytes -> pixels, copied to the training device
    training thread   takes micro-batches in order

Which images a step holds, and how each is cropped and flipped, depends on the step, the seed and
the images alone. Threads decide only when a micro-batch is ready.
"""

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from retfm_dist.config.schema import PretrainConfig
from retfm_dist.data.augment import Augmentation
from retfm_dist.data.batches import BatchMaker
from retfm_dist.data.decode import Decoder, EncodedBatch
from retfm_dist.data.exclusion import read_uids
from retfm_dist.data.faults import Replacement
from retfm_dist.data.lanes import Shuffle
from retfm_dist.data.open_sets import open_shard_sets
from retfm_dist.data.order import SampleOrder
from retfm_dist.data.prefetch import Prefetcher
from retfm_dist.data.reader import ShardReader
from retfm_dist.data.sampling import Sampling, check_states_agree, data_state
from retfm_dist.data.shard_set import ShardSet, fingerprint_of
from retfm_dist.data.timings import Timings
from retfm_dist.data.transfer import Transfer
from retfm_dist.errors import DataError
from retfm_dist.ranks.world import Ranks
from retfm_dist.shard.members import write_members
from retfm_dist.shard.write import TABLE_NAME

# Encoded micro-batches read ahead of the decoder: one in hand, one on the way.
_READ_AHEAD = 2
_SWITCH_INTERVAL_S = 2e-4
# Steps whose tars are fetched from an object store ahead of time.
_LOOK_AHEAD = 32


@dataclass(frozen=True)
class Batch:
    """One micro-batch of images on the training device.

    Attributes:
        images: uint8 [B, 3, S, S], channels last in memory; cropped, resized and flipped.
        uids: int64 [B]; each is the first 64 bits of the sha256 of the source file, as a signed
            number because torch has few operations on uint64.
        keys: int64 [B], by which each sample's random numbers are drawn: its uid, unless it is in
            another's place or is seen again in the epoch.
        replaced: Samples that could not be used, and what is in their place.
        step: Optimizer step, 0-based.
        micro_step: Forward pass within the step, 0-based.
        epoch: Epoch that the step belongs to, 0-based.
    """

    images: Tensor
    uids: Tensor
    keys: Tensor
    replaced: tuple[Replacement, ...]
    step: int
    micro_step: int
    epoch: int


class Loader:
    """Yields the micro-batches of one rank, starting at any step.

    Args:
        sets: The shard sets.
        maker: Reads encoded micro-batches.
        decoder: Decodes, crops, resizes and flips them.
        sampling: Which positions belong to this rank, and how samples are augmented.
        transfer: Copies tensors to the training device.
        prefetch_batches: Largest number of micro-batches held ready.
        timings: Collects the time spent by the threads; `decoder` adds to the same object.
    """

    def __init__(
        self,
        *,
        sets: Sequence[ShardSet],
        maker: BatchMaker,
        decoder: Decoder,
        sampling: Sampling,
        transfer: Transfer,
        prefetch_batches: int,
        timings: Timings,
    ) -> None:
        """Take ownership of maker and decoder; `close` closes them."""
        self._sets = sets
        self._maker = maker
        self._decoder = decoder
        self._sampling = sampling
        self._transfer = transfer
        self._prefetch_batches = prefetch_batches
        self._timings = timings
        self._running: list[Prefetcher[Any]] = []
        self._handed_out: deque[Batch] = deque()
        self._is_closed = False

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch, the same on every rank."""
        return self._sampling.order.steps_per_epoch

    @property
    def num_samples(self) -> int:
        """Samples in an epoch, the tail that fills no step included."""
        return self._sampling.order.num_samples

    def state(self) -> dict[str, Any]:
        """Return the fingerprint of the images, shares of sets, what is left out and the decoder.

        Everything else that determines the batches is in the config, which is compared when a run
        is resumed.
        """
        excluded = [f"{uid:016x}" for uid in self._maker.excluded.tolist()]
        return data_state(
            fingerprint_of(self._sets),
            self._sampling.order.weights,
            excluded,
            decoder=self._decoder.name,
        )

    def is_there(self) -> bool:
        """Whether the shard sets still stand, so that a restart would find them."""
        return all(shard_set.is_there() for shard_set in self._sets)

    def check_state(self, state: dict[str, Any]) -> None:
        """Raise an error if a checkpoint was trained on other images.

        Args:
            state: As `state` returned it when the checkpoint was written.

        Raises:
            DataError: A value differs; both are named. Or images that were left out come back.
        """
        check_states_agree(state, self.state())

    def cohort(self) -> dict[str, Any] | None:
        """Return the composition of the images by age, sex and so on, set by set.

        Returns:
            {"dataset_fingerprint", "sets": [{"share", "composition"}]}, JSON values: the share of
            the images seen, and `cohort.composition.describe_composition` or None where a set has
            no composition tables. None where no set has any.
        """
        compositions = [shard_set.read_composition() for shard_set in self._sets]
        if not any(compositions):
            return None
        weights = self._sampling.order.weights or [1.0]
        sets = [
            {"share": weight / sum(weights), "composition": composition}
            for weight, composition in zip(weights, compositions, strict=True)
        ]
        return {"dataset_fingerprint": fingerprint_of(self._sets), "sets": sets}

    def write_membership(self, path: Path) -> None:
        """Write which images and patients there are, where the shard set says so.

        Args:
            path: A `cohort.membership` file.
        """
        for shard_set in self._sets:
            shard_set.obtain(TABLE_NAME)
        directories = [shard_set.directory for shard_set in self._sets]
        write_members(directories, path, fingerprint=fingerprint_of(self._sets))

    def batches(self, start_step: int, end_step: int) -> Iterator[Batch]:
        """Yield the micro-batches of steps start_step <= step < end_step, in order.

        One iteration at a time: it has to end, or be closed, before the next one starts.

        Raises:
            DataError: The storage does not answer or holds nothing that can be used, a batch
                cannot be decoded though its samples can, or the loader is closed.
        """
        if self._is_closed:
            raise DataError("the loader is closed", where=f"step {start_step}")
        assert not self._running, "an earlier iteration is still running"
        encoded = Prefetcher(
            self._encoded_batches(start_step, end_step), depth=_READ_AHEAD, name="retfm-reader"
        )
        decoded = Prefetcher(
            self._decoded_batches(encoded), depth=self._prefetch_batches, name="retfm-decoder"
        )
        # The reader first: its end lets a decoder that waits for it go on to its own.
        self._running = [encoded, decoded]
        # Wherever training lets go of the interpreter, a thread of the loader could keep it for
        # 5 ms: as long as some whole steps on a GPU.
        usual_s = sys.getswitchinterval()
        sys.setswitchinterval(min(usual_s, _SWITCH_INTERVAL_S))
        try:
            while (batch := self._next_batch(decoded)) is not None:
                self._handed_out.append(batch)
                yield batch
        finally:
            sys.setswitchinterval(usual_s)
            self._stop()

    def timings(self) -> dict[str, float]:
        """Return seconds since the last call.

        "wait_s" is what the consumer waited; "read_s" and "decode_s" are what the threads spent
        meanwhile, and may exceed it as long as they keep ahead.
        """
        return self._timings.take()

    def close(self) -> None:
        """End the threads, free the decoder and close the files; may be called again."""
        self._stop()
        if self._is_closed:
            return
        self._is_closed = True
        self._decoder.close()
        self._maker.close()

    def _stop(self) -> None:
        for prefetcher in self._running:
            prefetcher.close()
        self._running = []
        self._handed_out.clear()

    def _next_batch(self, decoded: "Prefetcher[Batch]") -> Batch | None:
        """Wait for the next micro-batch."""
        with self._timings.measure("wait_s"):
            batch = next(decoded, None)
        if batch is None:
            if self._is_closed:
                raise DataError("the loader was closed during an iteration", where="data")
            return None
        self._transfer.receive(batch.images, batch.uids, batch.keys)
        return batch

    def _encoded_batches(self, start_step: int, end_step: int) -> Iterator[EncodedBatch]:
        """Plan and read micro-batches; runs in the reading thread."""
        for step in range(start_step, min(start_step + _LOOK_AHEAD, end_step)):
            self._maker.want(step)
        for step in range(start_step, end_step):
            if step + _LOOK_AHEAD < end_step:
                self._maker.want(step + _LOOK_AHEAD)
            for micro_step, draws in enumerate(self._sampling.draws(step)):
                with self._timings.measure("read_s"):
                    batch = self._maker.make(step, micro_step, draws)
                yield batch

    def _decoded_batches(self, encoded: Iterator[EncodedBatch]) -> Iterator[Batch]:
        """Decode micro-batches and copy them to the device; runs in the decoding thread."""
        decoding = self._decoder.decode(encoded, self._maker.replace)
        with self._transfer.stream(), closing(decoding) as decoded:
            for batch, pixels in decoded:
                # Dropped here, because to let go of a large tensor means to wait for the
                # interpreter, which the training thread has better things to do with.
                while len(self._handed_out) > 1:
                    self._handed_out.popleft()
                # Copies: to drop a tensor that numpy owns, the training thread would have to wait
                # for the interpreter.
                uids = torch.tensor(batch.uids.view(np.int64))
                keys = torch.tensor(batch.keys.view(np.int64))
                images, uids, keys = self._transfer.send(pixels, uids, keys)
                place = (batch.step, batch.micro_step, batch.epoch)
                yield Batch(images, uids, keys, batch.replaced, *place)


def build_loader(config: PretrainConfig, *, ranks: Ranks, device: torch.device) -> Loader:
    """Make the loader of one rank.

    Args:
        config: The run, checked against the world size; its sections data, schedule,
            model.img_size and run.seed are used.
        ranks: Rank and world size of this process.
        device: Where batches are wanted.

    Raises:
        DataError: The shard set is smaller than a batch, or DALI lacks the GPU asked for.
        ShardError: The shard set is incomplete or damaged.
    """
    # Not at the top: DALI takes a second to import, and commands that read no data share types.
    from retfm_dist.data.pipeline import build_decoder

    data, schedule = config.data, config.schedule
    backend = resolve_backend(data.backend, device)
    sets = open_shard_sets(config)
    sampling = Sampling(
        order=SampleOrder(
            [shard_set.index.starts for shard_set in sets],
            schedule.global_batch_size,
            Shuffle(config.run.seed, data.lanes, data.window),
            weights=data.weights,
        ),
        augmentation=Augmentation(data.crop_scale, data.crop_ratio, data.flip_probability),
        image_size=config.model.img_size,
        micro_batch_size=schedule.micro_batch_size,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )
    none = np.empty(0, dtype=np.uint64)
    excluded = none if data.exclude_uids is None else read_uids(data.exclude_uids)
    timings = Timings(("wait_s", "read_s", "decode_s"))
    decoder = build_decoder(
        backend,
        image_size=config.model.img_size,
        batch_size=schedule.micro_batch_size,
        num_threads=data.decode_threads,
        device=device,
        timings=timings,
        jpeg_engines=data.jpeg_engines,
    )
    reader = ShardReader(sets, timeout_s=config.read_timeout_s, name=f"rank {ranks.rank}")
    return Loader(
        sets=sets,
        maker=BatchMaker(reader, sampling, excluded=excluded),
        decoder=decoder,
        sampling=sampling,
        transfer=Transfer(device),
        prefetch_batches=data.prefetch_batches,
        timings=timings,
    )


def resolve_backend(
    backend: Literal["auto", "cpu", "gpu"], device: torch.device
) -> Literal["cpu", "gpu"]:
    """Return where JPEGs are decoded; "auto" follows the device that trains.

    Raises:
        DataError: "gpu" for a rank that trains on the CPU.
    """
    if backend == "auto":
        return "gpu" if device.type == "cuda" else "cpu"
    if backend == "gpu" and device.type != "cuda":
        raise DataError(
            "JPEGs cannot be decoded on the GPU of a rank without one",
            where="data.backend",
            got=f'"gpu" with device {device}',
            hint='set data.backend to "auto" or "cpu"',
        )
    return backend
