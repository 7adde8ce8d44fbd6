"""Schedule of a run: the learning rate of each step, and what is due every N steps.

All of it is plain arithmetic on the step, so that a resumed run cannot differ.
"""

import math
from dataclasses import dataclass

from retfm_dist.config import PretrainConfig
from retfm_dist.errors import TrainError


@dataclass(frozen=True)
class Plan:
    """A run's lengths, resolved once from epochs or images to optimizer steps.

    Attributes:
        steps_per_epoch: Steps that make up one pass over the images.
        total_steps: Steps of the whole run.
        warmup_steps: Steps of the linear warm-up.
        checkpoint_every: Steps between checkpoints; 0 where the clock decides. The last step is
            saved in any case.
        max_lost: Most steps between the newest complete checkpoint and where training is; 0 is any.
        keep_every: Checkpoints of a multiple of so many steps stay for ever; 0 is none.
        log_every: Steps between lines of metrics.
        reconstruct_every: Steps between reconstruction pictures; 0 is never.
        peak_lr: Learning rate at the end of the warm-up.
        min_lr: Learning rate at the end of the run.
    """

    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    checkpoint_every: int
    max_lost: int
    keep_every: int
    log_every: int
    reconstruct_every: int
    peak_lr: float
    min_lr: float

    def lr(self, step: int) -> float:
        """Return the learning rate of the update that follows `step` completed steps."""
        return lr_at(
            step,
            total_steps=self.total_steps,
            warmup_steps=self.warmup_steps,
            peak_lr=self.peak_lr,
            min_lr=self.min_lr,
        )

    def is_due(self, step: int, every: int) -> bool:
        """Whether something done every `every` steps, and at the end, is due after `step` steps."""
        return every > 0 and (step % every == 0 or step == self.total_steps)


def plan_run(config: PretrainConfig, *, steps_per_epoch: int) -> Plan:
    """Resolve all durations of a config to steps.

    Args:
        config: The run.
        steps_per_epoch: Optimizer steps in one pass over the images.

    Raises:
        TrainError: The run has no step, a warm-up longer than itself, an interval of none, or one
            between checkpoints that loses more than it may.
    """

    def steps_of(duration) -> int:
        return (
            0
            if duration is None
            else duration.to_steps(
                steps_per_epoch=steps_per_epoch, global_batch_size=config.schedule.global_batch_size
            )
        )

    plan = Plan(
        steps_per_epoch=steps_per_epoch,
        total_steps=steps_of(config.schedule.duration),
        warmup_steps=steps_of(config.schedule.warmup),
        checkpoint_every=steps_of(config.checkpoint.every.duration),
        max_lost=steps_of(config.checkpoint.max_lost),
        keep_every=steps_of(config.checkpoint.keep_every),
        log_every=steps_of(config.log.every),
        reconstruct_every=steps_of(config.log.reconstructions_every),
        peak_lr=config.lr,
        min_lr=config.optimizer.min_lr,
    )
    for field, steps in (
        ("schedule.duration", plan.total_steps),
        ("checkpoint.every", plan.checkpoint_every or config.checkpoint.every.duration is None),
        ("log.every", plan.log_every),
    ):
        if steps < 1:
            raise TrainError("shorter than one step", where=field, expected="at least 1 step")
    if plan.warmup_steps > plan.total_steps:
        raise TrainError(
            "the warm-up is longer than the run",
            where="schedule.warmup",
            got=f"{plan.warmup_steps} steps",
            expected=f"at most schedule.duration, {plan.total_steps} steps",
        )
    if config.checkpoint.max_lost and not 1 <= plan.checkpoint_every <= plan.max_lost:
        raise TrainError(
            "is less than what the interval between checkpoints may lose",
            where="checkpoint.max_lost",
            got=f"{plan.max_lost} steps, where checkpoint.every is {config.checkpoint.every}",
            expected="at least checkpoint.every, which must be a length of training",
        )
    return plan


def lr_at(
    step: int, *, total_steps: int, warmup_steps: int, peak_lr: float, min_lr: float
) -> float:
    """Return the learning rate of the update that follows `step` completed steps.

    Linear from 0 over the warm-up, then half a cosine from `peak_lr` to `min_lr`. The reference
    evaluates the same curve at epoch = step / steps_per_epoch before each update, so the first
    update has rate 0 and `min_lr` itself, at `total_steps`, is never used.

    Args:
        step: Completed optimizer steps, in [0, total_steps].
        total_steps: Steps of the run.
        warmup_steps: Steps of the warm-up; 0 starts at `peak_lr`.
        peak_lr: Rate at the end of the warm-up.
        min_lr: Rate at the end of the cosine.

    Source: He et al. 2022, arXiv:2111.06377, appendix A.1; Loshchilov and Hutter 2017,
        arXiv:1608.03983, equation 5 without restarts.
    """
    if step < warmup_steps:
        return peak_lr * step / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return min_lr + (peak_lr - min_lr) * 0.5 * (1.0 + math.cos(math.pi * progress))
