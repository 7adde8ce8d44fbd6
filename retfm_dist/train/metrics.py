"""Metrics of a log interval, as a line of metrics.jsonl holds them.

{"step": 40, "epoch": 1.25, "images_seen": 1280, "train/loss": 0.91, "train/lr": 0.0012,
 "perf/images_per_s": 31.2, "perf/data_wait_ratio": 0.04, "perf/peak_memory_gib": 1.9,
 "perf/slowest_rank": 3, "perf/slowest_rank_ratio": 1.02, "perf/mfu_measured": 0.51,
 "perf/host_ratio": 0.21, "perf/effective_time_ratio": 0.98}

`perf/host_ratio` is the time in which the main rank's host issues a step over the time of a step,
on a GPU: near 1, the host is what limits.
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import torch

from retfm_dist.ranks.agreement import gather_each
from retfm_dist.train.schedule import Plan

_GIB = 1 << 30


class Interval:
    """Accumulates losses on the device, without waiting for it, until a line is due.

    Args:
        global_batch_size: Images per step over all ranks.
        device: Where the losses are.
        clock: Monotonic time, s.
        begun: `state` of an interval that an earlier start has begun; None where it had just ended.
    """

    def __init__(
        self,
        *,
        global_batch_size: int,
        device: torch.device,
        clock: Callable[[], float] = time.monotonic,
        begun: Mapping[str, float] | None = None,
    ) -> None:
        """Begin the first interval, or go on with one."""
        self._global_batch_size = global_batch_size
        self._device = device
        self._clock = clock
        self._begin()
        if begun:
            self._sums += self._sums.new_tensor([begun["loss_sum"], begun["num_steps"]])

    def _begin(self) -> None:
        # Of the steps that changed the weights: this rank's losses, and how many.
        self._sums = torch.zeros(2, dtype=torch.float64, device=self._device)
        self._num_steps = 0
        self._begun_at = self._clock()

    def state(self) -> dict[str, float]:
        """Return what the next start needs to go on; all ranks call this together."""
        loss_sum, num_steps = gather_each(self._sums).mean(0).tolist()
        return {"loss_sum": loss_sum, "num_steps": round(num_steps)}

    def add(self, loss: torch.Tensor, is_updated: torch.Tensor) -> None:
        """Count a step.

        Args:
            loss: [] this rank's, on the device.
            is_updated: [] whether the step changed the weights; the loss of one that did not is
                not that of a model that goes on, and does not count.
        """
        counted = torch.stack([loss.double(), torch.ones_like(loss, dtype=torch.float64)])
        self._sums += torch.where(is_updated, counted, 0.0)
        self._num_steps += 1

    def close(self, *, wait_s: float, forward_s: float) -> dict[str, float] | None:
        """Return the interval's metrics and begin the next; all ranks call this together.

        Args:
            wait_s: Time in the interval that this rank waited for data.
            forward_s: Time in the interval that its forward passes took.

        Returns:
            Loss, mean over the interval's steps and all ranks; throughput of all ranks together;
            share of the time waited for data and peak memory so far, of the rank with the most;
            which of several ranks is the slowest, and its time over the median of all. None, and
            the interval goes on, where no step changed the weights.
        """
        own = self._sums.new_tensor([wait_s, forward_s, peak_memory_bytes(self._device)])
        of_each = gather_each(torch.cat([self._sums, own]))
        # Reading them waits for the device, so the clock is read after it.
        loss_sum, num_updated, *_ = of_each.mean(0).tolist()
        if num_updated == 0:
            return None
        metrics = {"train/loss": loss_sum / num_updated}
        elapsed_s = self._clock() - self._begun_at
        _, _, waits, passes, memory = (column.tolist() for column in of_each.unbind(1))
        metrics |= {
            "perf/images_per_s": self._num_steps * self._global_batch_size / elapsed_s,
            "perf/data_wait_ratio": min(1.0, max(waits) / elapsed_s),
            "perf/peak_memory_gib": max(memory) / _GIB,
        }
        if len(passes) > 1:
            metrics |= {
                "perf/slowest_rank": passes.index(max(passes)),
                "perf/slowest_rank_ratio": max(passes) / statistics.median(passes),
            }
        self._begin()
        return metrics


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory this process has held: of the GPU, or of the host without one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def metrics_line(
    metrics: Mapping[str, float], *, step: int, plan: Plan, global_batch_size: int
) -> dict[str, float]:
    """Put step, epoch and images in front of an interval's metrics, and the last update's rate.

    Args:
        metrics: As `Interval.close` returns them.
        step: Completed steps, >= 1.
        plan: The run's lengths and learning rates.
        global_batch_size: Images per step.
    """
    return {
        "step": step,
        "epoch": step / plan.steps_per_epoch,
        "images_seen": step * global_batch_size,
        "train/loss": metrics["train/loss"],
        "train/lr": plan.lr(step - 1),
        **{name: value for name, value in metrics.items() if name.startswith("perf/")},
    }
