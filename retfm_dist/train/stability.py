"""Judgement of each step, the same on all ranks: sound, not finite, or a spike of the loss.

A step that is not sound changes no weight on any rank; the device sees to that by itself, and the
host learns of it some steps later. Several in a row are no accident of a few images: the run goes
back to a checkpoint and passes over the window of steps around them.
"""

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from retfm_dist.config.schema import StabilityConfig

_NO_LIMIT = torch.finfo(torch.float32).max
_MAD_TO_DEVIATION = 1.4826
"""The standard deviation of a normal distribution in median absolute deviations."""
_LEAST_DEVIATION = 0.01
"""Of the median: losses that hardly vary are not spikes for a last digit."""


@dataclass(frozen=True)
class StepOutcome:
    """What became of a step, on the host.

    Attributes:
        step: The step, 0-based.
        losses: Loss of each rank.
        is_finite: Whether the gradients of each rank, before they were averaged, were finite.
        is_updated: Whether the weights have changed.
        limit: Largest mean loss that was no spike.
        uids: [B] int64 of each of this rank's micro-batches.
    """

    step: int
    losses: tuple[float, ...]
    is_finite: tuple[bool, ...]
    is_updated: bool
    limit: float
    uids: tuple[torch.Tensor, ...] = ()


@dataclass(frozen=True)
class Problem:
    """A step that changed no weight.

    Attributes:
        step: The step, 0-based.
        kind: What was not as it should be.
        ranks: Whose loss or gradient is not finite; empty for a spike, and for a gradient that has
            become so in the sum over ranks.
        losses: Loss of each rank.
        limit: Largest mean loss that was no spike.
    """

    step: int
    kind: Literal["loss", "gradient", "spike"]
    ranks: tuple[int, ...]
    losses: tuple[float, ...]
    limit: float

    @property
    def words(self) -> str:
        """What is wrong, for a message."""
        if self.kind == "spike":
            mean = statistics.fmean(self.losses)
            return f"the loss is {mean:.4g}, above {self.limit:.4g}"
        where = f" on rank {', '.join(map(str, self.ranks))}" if self.ranks else ""
        return f"the {self.kind} is not finite{where}"


class Judge:
    """Judges steps by what went before; all of it is a function of the losses.

    Args:
        config: What counts as a spike, and how many bad steps in a row are too many.
        begun: `state` of the checkpoint that this start continues; None at step 0.
    """

    def __init__(self, config: StabilityConfig, begun: Mapping[str, Any] | None = None) -> None:
        """Begin without history, or go on with one."""
        self._config = config
        self._recent: deque[float] = deque(maxlen=config.spike_history)
        self._recent.extend(begun["recent_losses"] if begun else ())
        self._bad_steps: list[int] = list(begun["bad_steps"] if begun else ())
        self.limit: float = begun.get("limit", _NO_LIMIT) if begun else _NO_LIMIT

    def state(self) -> dict[str, Any]:
        """Return what the next start needs to judge alike."""
        return {
            "recent_losses": list(self._recent),
            "bad_steps": list(self._bad_steps),
            "limit": self.limit,
        }

    def is_time(self, step: int) -> bool:
        """Whether all steps before this one, which has been begun, are to be judged now.

        The device still has this step to do meanwhile, so that judging makes nobody wait.
        """
        return step % self._config.judge_every == 0

    def set_limit(self) -> None:
        """Set the limit anew; at fixed steps, so that the run's other interruptions change none."""
        self.limit = self._robust_limit()

    def _robust_limit(self) -> float:
        """Return the largest mean loss that is no spike.

        The median of the last sound losses plus `spike_deviations` robust standard deviations;
        without limit while there are less than half of `spike_history`.
        """
        deviations = self._config.spike_deviations
        if deviations is None or 2 * len(self._recent) < self._config.spike_history:
            return _NO_LIMIT
        median = statistics.median(self._recent)
        mad = statistics.median(abs(loss - median) for loss in self._recent)
        deviation = max(_MAD_TO_DEVIATION * mad, _LEAST_DEVIATION * abs(median))
        return median + deviations * deviation

    def judge(self, outcome: StepOutcome) -> Problem | None:
        """Return what is wrong with a step, or None; steps come in order."""
        step, losses, limit = outcome.step, outcome.losses, outcome.limit
        mean = statistics.fmean(losses)
        bad = tuple(rank for rank, loss in enumerate(losses) if not math.isfinite(loss))
        if bad:
            problem = Problem(step, "loss", bad, losses, limit)
        elif mean > limit:
            problem = Problem(step, "spike", (), losses, limit)
        elif not outcome.is_updated:
            blamed = tuple(
                rank for rank, is_finite in enumerate(outcome.is_finite) if not is_finite
            )
            problem = Problem(step, "gradient", blamed, losses, limit)
        else:
            self._bad_steps = []
            self._recent.append(mean)
            return None
        self._bad_steps.append(step)
        return problem

    @property
    def too_many(self) -> tuple[int, int] | None:
        """First of the bad steps in a row and the step after the last, once they are too many."""
        if len(self._bad_steps) < self._config.skips_before_rollback:
            return None
        return self._bad_steps[0], self._bad_steps[-1] + 1


def is_sound(losses: torch.Tensor, norm: torch.Tensor, limit: float) -> torch.Tensor:
    """Return whether a step may change the weights, [] bool on the device, without a host wait.

    Args:
        losses: [world_size] loss of each rank.
        norm: [] norm of the gradients.
        limit: `Judge.limit`.
    """
    return torch.isfinite(losses).all() & torch.isfinite(norm) & (losses.mean() <= limit)
