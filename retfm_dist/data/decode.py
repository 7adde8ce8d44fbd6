"""Drives a decoding pipeline one batch ahead of its consumer, without importing DALI.

Batches are fed by name, not through a callback: an exception in a callback would surface inside
the pipeline, one batch early, and at every later run.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from retfm_dist.data.timings import Timings
from retfm_dist.errors import DataError


@dataclass(frozen=True)
class EncodedBatch:
    """One micro-batch before decoding.

    Attributes:
        step: Optimizer step it belongs to.
        micro_step: Number within the step.
        epoch: Epoch of the step.
        uids: uint64 [B] content identifiers.
        sources: Tar and number of each sample, for messages.
        jpegs: B arrays of uint8, the encoded images.
        boxes: int64 [B, 4] crop boxes: top, left, height, width, px.
        flips: bool [B], whether the crop is flipped left to right.
    """

    step: int
    micro_step: int
    epoch: int
    uids: NDArray[np.uint64]
    sources: list[str]
    jpegs: list[NDArray[np.uint8]]
    boxes: NDArray[np.int64]
    flips: NDArray[np.bool_]


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

    def finish(self, output: Any, batch: EncodedBatch) -> Tensor:
        """Turn the pipeline's output for a batch into uint8 [B, 3, S, S]."""
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

    def decode(
        self, batches: Iterable[EncodedBatch]
    ) -> Generator[tuple[EncodedBatch, Tensor], None, None]:
        """Decode batches in order; the pipeline works on the next while one is finished.

        Raises:
            DataError: A sample cannot be decoded; it is named.
        """
        decoded: tuple[Any, EncodedBatch] | None = None
        try:
            for batch in batches:
                self._submit(batch)
                if decoded is not None:
                    yield self._finish(*decoded)
                decoded = self._collect(batch), batch
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
        # "C": the pipeline takes no strided arrays.
        arrays = {
            "jpegs": batch.jpegs,
            "starts": batch.boxes[:, :2].astype(np.int32, order="C"),
            "shapes": batch.boxes[:, 2:].astype(np.int32, order="C"),
            "flips": batch.flips.astype(np.int32),
        }
        for name in self._backend.inputs:
            self._pipeline.feed_input(name, arrays[name])
        self._pipeline.schedule_run()
        self._num_in_flight += 1

    def _await_output(self) -> Any:
        """Wait for the batch in flight."""
        self._num_in_flight -= 1
        (output,) = self._pipeline.outputs()
        return output

    def _collect(self, batch: EncodedBatch) -> Any:
        """Wait for the output of `batch`, the one in flight."""
        with self._timings.measure("decode_s"):
            try:
                return self._await_output()
            except RuntimeError as error:
                raise self._blame(batch, error) from error

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

    def _blame(self, batch: EncodedBatch, error: RuntimeError) -> DataError:
        """Name the sample at fault, found by decoding each one alone."""
        source = f"{len(batch.sources)} samples, the first is {batch.sources[0]}"
        for i in range(len(batch.sources)):
            self._pipeline = self._backend.build_pipeline()
            self._submit(_sample_of(batch, i))
            try:
                self._await_output()
            except RuntimeError as alone:
                source, error = batch.sources[i], alone
                break
        self._pipeline = self._backend.build_pipeline()
        return DataError(
            "the sample cannot be decoded",
            where=f"step {batch.step}, micro-step {batch.micro_step}, {source}",
            got=reason_of(error),
            hint="run `python -m retfm_dist.shard verify --full` and build the set again",
        )


def reason_of(error: RuntimeError) -> str:
    """Return the one line of a DALI error that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "encountered:" in lines[:-1]:
        return lines[lines.index("encountered:") + 1]
    return lines[0] if lines else "an error without text"


def _sample_of(batch: EncodedBatch, i: int) -> EncodedBatch:
    """Return sample i as a batch of one."""
    one = slice(i, i + 1)
    return replace(
        batch,
        uids=batch.uids[one],
        sources=batch.sources[one],
        jpegs=batch.jpegs[one],
        boxes=batch.boxes[one],
        flips=batch.flips[one],
    )
