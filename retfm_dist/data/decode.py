"""Drives a decoding pipeline one batch ahead of its consumer, without importing DALI.

Batches are fed by name, not through a callback: an exception in a callback would surface inside
the pipeline, one batch early, and at every later run.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from retfm_dist.data.faults import Replacement
from retfm_dist.data.timings import Timings
from retfm_dist.errors import DataError

# Substitutes may be undecodable too, and theirs.
_MOST_MENDS = 8


@dataclass(frozen=True)
class EncodedBatch:
    """One micro-batch before decoding.

    Attributes:
        step: Optimizer step it belongs to.
        micro_step: Number within the step.
        epoch: Epoch of the step.
        uids: uint64 [B] content identifiers.
        keys: uint64 [B], by which the random numbers of each place are drawn: the uid of what
            belongs there, or a number of its own where that is seen again in the epoch.
        jpegs: B arrays of uint8, the encoded images.
        boxes: int64 [B, 4] crop boxes: top, left, height, width, px.
        flips: bool [B], whether the crop is flipped left to right.
        replaced: Samples that could not be used.
        places: What whoever made the batch needs to replace more of it.
    """

    step: int
    micro_step: int
    epoch: int
    uids: NDArray[np.uint64]
    keys: NDArray[np.uint64]
    jpegs: list[NDArray[np.uint8]]
    boxes: NDArray[np.int64]
    flips: NDArray[np.bool_]
    replaced: tuple[Replacement, ...] = ()
    places: Any = None


Replace = Callable[[EncodedBatch, Mapping[int, str]], EncodedBatch]
"""A batch, and what is wrong with samples of it -> a batch with others in their place."""


class Pipeline(Protocol):
    """The part of `nvidia.dali.Pipeline` that is used; a run that fails raises RuntimeError."""

    def feed_input(self, data_node: str, data: Any, /) -> None:
        """Copy a batch into an input."""
        ...

    def schedule_run(self) -> None:
        """Start to work on the batch fed."""
        ...

    def outputs(self) -> tuple[Any, ...]:
        """Wait for the oldest batch scheduled."""
        ...


class Backend(Protocol):
    """Where JPEGs are decoded: builds pipelines and finishes what they put out."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Inputs of the pipeline, among "jpegs", "starts", "shapes" and "flips"."""
        ...

    def build_pipeline(self) -> Pipeline:
        """Build a pipeline; called again after a failed run, which ends a DALI pipeline."""
        ...

    def build_probe(self) -> Pipeline:
        """Build a pipeline of jpegs, starts and shapes on the CPU, for one sample at a time."""
        ...

    def finish(self, output: Any, batch: EncodedBatch) -> Tensor:
        """Turn the pipeline's output for a batch into uint8 [B, 3, S, S]."""
        ...

    @property
    def name(self) -> str:
        """What makes the pixels; of another name they may differ by a level or two."""
        ...

    def close(self) -> None:
        """Free threads and memory."""
        ...


class Decoder:
    """Decodes batches of JPEGs, one batch ahead of the consumer.

    Args:
        backend: What to run.
        timings: Takes the time spent, as "decode_s".
    """

    def __init__(self, backend: Backend, *, timings: Timings) -> None:
        """Build the pipeline; fails at once on a machine that cannot decode."""
        self._backend = backend
        self._timings = timings
        self._pipeline = backend.build_pipeline()
        self._num_in_flight = 0

    @property
    def name(self) -> str:
        """What makes the pixels, as the back end says."""
        return self._backend.name

    def decode(
        self, batches: Iterable[EncodedBatch], replace: Replace
    ) -> Generator[tuple[EncodedBatch, Tensor], None, None]:
        """Decode batches in order; the pipeline works on the next while one is finished.

        Args:
            batches: The batches.
            replace: Puts other samples in place of those that cannot be decoded.

        Raises:
            DataError: A batch cannot be decoded though each of its samples can.
        """
        decoded: tuple[Any, EncodedBatch] | None = None
        try:
            for batch in batches:
                self._submit(batch)
                if decoded is not None:
                    yield self._finish(*decoded)
                decoded = self._collect(batch, replace)
            if decoded is not None:
                yield self._finish(*decoded)
        finally:
            self._drain()

    def close(self) -> None:
        """Free threads and memory; the decoder cannot be used afterwards."""
        self._backend.close()
        del self._pipeline

    def _submit(self, batch: EncodedBatch) -> None:
        """Start the pipeline on a batch."""
        _feed(self._pipeline, self._backend.inputs, batch, slice(None))
        self._pipeline.schedule_run()
        self._num_in_flight += 1

    def _await_output(self) -> Any:
        """Wait for the batch in flight."""
        self._num_in_flight -= 1
        (output,) = self._pipeline.outputs()
        return output

    def _collect(self, batch: EncodedBatch, replace: Replace) -> tuple[Any, EncodedBatch]:
        """Wait for the output of `batch`, the one in flight, or of what it becomes."""
        for num_mends in range(_MOST_MENDS):
            try:
                with self._timings.measure("decode_s"):
                    return self._await_output(), batch
            except RuntimeError as error:
                self._pipeline = self._backend.build_pipeline()
                undecodable = self._find_undecodable(batch)
                if not undecodable and num_mends:
                    raise _undecodable_batch(batch, error) from error
            # A batch whose samples are all sound is tried once more as it is.
            batch = replace(batch, undecodable) if undecodable else batch
            self._submit(batch)
        self._drain()
        raise _undecodable_batch(batch, RuntimeError("too many samples cannot be decoded"))

    def _finish(self, output: Any, batch: EncodedBatch) -> tuple[EncodedBatch, Tensor]:
        with self._timings.measure("decode_s"):
            return batch, self._backend.finish(output, batch)

    def _drain(self) -> None:
        """Leave no batch in flight, so that the next `decode` starts clean."""
        while self._num_in_flight:
            try:
                self._await_output()
            except RuntimeError:  # of a batch that nobody wants any more
                self._pipeline = self._backend.build_pipeline()

    def _find_undecodable(self, batch: EncodedBatch) -> dict[int, str]:
        """Decode each sample alone, on the CPU; return what is wrong with those that fail."""
        probe, found = self._backend.build_probe(), {}
        for i in range(len(batch.jpegs)):
            _feed(probe, ("jpegs", "starts", "shapes"), batch, slice(i, i + 1))
            probe.schedule_run()
            try:
                probe.outputs()
            except RuntimeError as error:
                found[i] = reason_of(error)
                probe = self._backend.build_probe()
        return found


def reason_of(error: RuntimeError) -> str:
    """Return the one line of a DALI error that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "encountered:" in lines[:-1]:
        return lines[lines.index("encountered:") + 1]
    return lines[0] if lines else "an error without text"


def _feed(pipeline: Pipeline, inputs: Iterable[str], batch: EncodedBatch, rows: slice) -> None:
    """Copy samples of a batch into the inputs of a pipeline."""
    # "C": the pipeline takes no strided arrays.
    arrays = {
        "jpegs": batch.jpegs[rows],
        "starts": batch.boxes[rows, :2].astype(np.int32, order="C"),
        "shapes": batch.boxes[rows, 2:].astype(np.int32, order="C"),
        "flips": batch.flips[rows].astype(np.int32),
    }
    for name in inputs:
        pipeline.feed_input(name, arrays[name])


def _undecodable_batch(batch: EncodedBatch, error: RuntimeError) -> DataError:
    return DataError(
        "the batch cannot be decoded",
        where=f"step {batch.step}, micro-step {batch.micro_step}, {len(batch.jpegs)} samples",
        got=reason_of(error),
        hint="the uids of the step are in the run's logs with data.log_uids=true",
    )
