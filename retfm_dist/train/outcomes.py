"""Outcomes of steps, on their way from the device to the host, which waits for none of them."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from retfm_dist.train.stability import StepOutcome
from retfm_dist.train.step import StepResult


@dataclass(frozen=True)
class _Pending:
    step: int
    values: torch.Tensor
    is_there: "torch.cuda.Event | None"
    limit: float
    uids: tuple[torch.Tensor, ...]


class Outcomes:
    """The outcomes that nobody has read yet, oldest first."""

    def __init__(self) -> None:
        """Begin without any."""
        self._pending: deque[_Pending] = deque()

    def add(
        self, step: int, result: StepResult, *, limit: float, uids: Sequence[torch.Tensor]
    ) -> None:
        """Begin to copy a step's outcome to the host; the device may not have come so far.

        Args:
            step: The step, 0-based.
            result: Its result.
            limit: Largest mean loss that was no spike.
            uids: [B] int64 of each of this rank's micro-batches.
        """
        kind = result.losses.dtype
        flags = (result.is_finite.to(kind), result.is_updated[None].to(kind))
        values = torch.cat([result.losses, *flags])
        is_there = None
        if values.device.type == "cuda":
            # Only into pinned memory does a copy go on beside the host.
            pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            values = pinned.copy_(values, non_blocking=True)
            is_there = torch.cuda.Event()
            is_there.record()
        self._pending.append(_Pending(step, values, is_there, limit, tuple(uids)))

    def take(self, *, before: int) -> Iterator[StepOutcome]:
        """Yield the outcomes of the steps before a step, in order; waits where one is not there.

        Args:
            before: The first step whose outcome stays.
        """
        while self._pending and self._pending[0].step < before:
            first = self._pending.popleft()
            if first.is_there is not None:
                first.is_there.synchronize()
            *of_ranks, is_updated = first.values.tolist()
            losses = tuple(of_ranks[: len(of_ranks) // 2])
            is_finite = tuple(map(bool, of_ranks[len(losses) :]))
            yield StepOutcome(
                first.step, losses, is_finite, bool(is_updated), first.limit, first.uids
            )
