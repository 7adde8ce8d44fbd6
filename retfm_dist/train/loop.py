"""The training loop: step by step, log, save, and stop where the ranks agree to."""

import contextlib
import itertools
import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch

from retfm_dist.ranks.agreement import highest
from retfm_dist.ranks.stopping import StopReason, StopRequest
from retfm_dist.train.anomalies import record_problem
from retfm_dist.train.bad_samples import BadSamples
from retfm_dist.train.displays import Displays
from retfm_dist.train.interfaces import Batch
from retfm_dist.train.run import Run
from retfm_dist.train.saving import Saving
from retfm_dist.train.stability import Judge, Problem
from retfm_dist.train.step import Inputs, batch_inputs, train_step
from retfm_dist.train.uid_log import log_uids

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How far the loop came.

    Attributes:
        step: Completed steps, and saved unless `bad` is given.
        bad: First of too many bad steps in a row and the step after the last; None where there
            were none, and the run is at its end or was asked to stop.
        problem: What was wrong with the last of them.
    """

    step: int
    bad: tuple[int, int] | None = None
    problem: Problem | None = None


def train(
    run: Run,
    displays: Displays,
    saving: Saving,
    judge: Judge,
    bad_samples: BadSamples,
    *,
    start_step: int,
    stop: StopRequest,
) -> Outcome:
    """Train from `start_step` to the end; after each step log, then save, whatever is due.

    All ranks call this.

    Args:
        run: The run.
        displays: Its output.
        saving: Its checkpoints.
        judge: Says which steps are sound.
        bad_samples: Counts the samples that cannot be used.
        start_step: Completed steps.
        stop: Says whether this rank has been asked to stop.

    Raises:
        CheckpointError: A checkpoint cannot be written.
        TooManyBadSamplesError: More samples than may be cannot be used; the step is saved.
        SystemFailureError: A log cannot be written.
    """
    total = run.plan.total_steps
    with contextlib.closing(_inputs(run, start_step)) as inputs:
        for step in range(start_step, total):
            displays.begin_step()
            loss, problem = None, None
            if not run.skips.contains(step):
                loss, problem = _step(run, judge, _noted(inputs, bad_samples), step)
            if problem is not None and judge.too_many:
                saving.finish(step + 1)
                return Outcome(step + 1, judge.too_many, problem)
            run.heartbeat.note(step + 1, "logging")
            displays.show(step + 1, loss)
            reason, is_due = _agree(run, saving, bad_samples, stop, step=step + 1)
            if reason or is_due:
                progress = {"stability": judge.state(), "bad_samples": bad_samples.state()}
                saving.begin(step + 1, {**displays.state(), **progress})
            if bad_samples.are_too_many:
                saving.finish(step + 1)
                raise bad_samples.refusal()
            if reason and step + 1 < total:
                saving.finish(step + 1)
                logger.info(
                    "stopped by %s after step %d, which is saved; the same command continues",
                    reason.words,
                    step + 1,
                )
                return Outcome(step + 1)
    saving.finish(total)
    return Outcome(total)


def _step(
    run: Run, judge: Judge, inputs: Iterator[Inputs], step: int
) -> tuple[torch.Tensor | None, Problem | None]:
    """Make one step; return this rank's loss, or what was wrong with it."""
    grad_accum_steps = run.config.grad_accum_steps(run.ranks.world_size)
    uids: list[torch.Tensor] = []

    def noted() -> Iterator[Inputs]:
        for micro in itertools.islice(inputs, grad_accum_steps):
            uids.append(micro.uids)
            yield micro

    result = train_step(
        run.engine,
        noted(),
        grad_accum_steps=grad_accum_steps,
        lr=run.plan.lr(step),
        limit=judge.limit,
    )
    problem = judge.judge(step, result.losses.tolist(), is_updated=bool(result.is_updated))
    if problem is None:
        return result.loss, None
    record_problem(problem, uids, run_dir=run.run_dir, ranks=run.ranks)
    return None, problem


def _noted(inputs: Iterator[Inputs], bad_samples: BadSamples) -> Iterator[Inputs]:
    """Yield micro-batches, and note which of their samples stand in place of others."""
    for micro in inputs:
        bad_samples.note(micro.replaced)
        yield micro


def _agree(
    run: Run, saving: Saving, bad_samples: BadSamples, stop: StopRequest, *, step: int
) -> tuple[StopReason, bool]:
    """Return why the ranks stop after this step, falsy if they do not, and whether a save is due.

    The answers are the same on all ranks; a save under way is taken further.
    """
    limit = run.config.run.time_limit_hours
    if limit is not None and stop.seconds > 3600 * limit:
        stop.ask(StopReason.TIME_LIMIT)
    own = (stop.reason, saving.status, saving.is_due(step), bad_samples.has_fresh)
    asked, status, is_due, has_fresh = highest(own, device=run.device)
    saving.advance(status)
    if has_fresh:
        bad_samples.share(step - 1, epoch=(step - 1) // run.loader.steps_per_epoch)
        is_due = is_due or bad_samples.are_too_many
    if reason := StopReason(asked):
        stop.hear()
    return reason, bool(is_due)


def _inputs(run: Run, start_step: int) -> Generator[Inputs, None, None]:
    """Yield every micro-batch from a step to the end, on the device; none of steps passed over."""
    # The first step of a start compiles and allocates; it may take longer than all others.
    first: int | None = None
    for begin, end in run.skips.segments(start_step, run.plan.total_steps):
        batches: Iterator[Batch] = run.loader.batches(begin, end)
        if run.config.data.log_uids:
            batches = log_uids(batches, run.run_dir.uid_log_path(run.ranks.rank))
        for batch in batches:
            first = batch.step if first is None else first
            run.heartbeat.note(batch.step, "starting" if batch.step == first else "computing")
            yield batch_inputs(
                batch,
                seed=run.config.run.seed,
                num_patches=run.config.model.num_patches,
                device=run.device,
            )
            if batch.step > first:
                run.heartbeat.note(batch.step, "reading data")
