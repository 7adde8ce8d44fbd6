"""The training loop: step by step, log, save, and stop where the ranks agree to."""

import contextlib
import itertools
import logging
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch

from retfm_dist.ranks.agreement import highest, highest_later
from retfm_dist.ranks.stopping import StopReason, StopRequest
from retfm_dist.train.anomalies import record_problem
from retfm_dist.train.bad_samples import BadSamples
from retfm_dist.train.displays import Displays
from retfm_dist.train.interfaces import Batch
from retfm_dist.train.outcomes import Outcomes
from retfm_dist.train.run import Run
from retfm_dist.train.saving import Saving
from retfm_dist.train.stability import Judge, Problem
from retfm_dist.train.step import Inputs, StepResult, batch_inputs, train_step
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
    outcomes = Outcomes()
    with contextlib.closing(_inputs(run, start_step)) as inputs:
        for step in range(start_step, total):
            saving.hold(step)
            displays.begin_step(step)
            asked = highest_later(lambda: _asked(run, saving, bad_samples, stop))
            result = None
            if not run.skips.contains(step):
                result = _step(run, _noted(inputs, step, bad_samples), judge, outcomes, step)
            run.heartbeat.note(step + 1, "logging")
            displays.show(step + 1, result)
            reason, is_time = _hear(asked(), saving, bad_samples, stop)
            is_due = bool(reason) or is_time or saving.is_planned(step + 1)
            if problem := _look(run, judge, outcomes, step, is_whole=is_due):
                saving.finish(step + 1)
                return Outcome(step + 1, judge.too_many, problem)
            if is_due:
                _save(step + 1, displays, saving, judge, bad_samples)
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
    run: Run, inputs: Iterator[Inputs], judge: Judge, outcomes: Outcomes, step: int
) -> StepResult:
    """Begin one step on the device, and the copy of its outcome to the host."""
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
    outcomes.add(step, result, limit=judge.limit, uids=uids)
    return result


def _noted(inputs: Iterator[Inputs], step: int, bad_samples: BadSamples) -> Iterator[Inputs]:
    """Yield micro-batches, and note which of their samples stand in place of others."""
    for micro in inputs:
        bad_samples.note(step, micro.replaced)
        yield micro


def _look(
    run: Run, judge: Judge, outcomes: Outcomes, step: int, *, is_whole: bool
) -> Problem | None:
    """Judge what is to be judged once a step has begun; return the last of too many problems.

    Args:
        run: The run.
        judge: Says which steps are sound.
        outcomes: What became of them.
        step: The step that has begun, 0-based.
        is_whole: Whether this step is judged too, which waits for it.
    """
    if judge.is_time(step):
        if problem := _judge(run, judge, outcomes, before=step):
            return problem
        judge.set_limit()
    return _judge(run, judge, outcomes, before=step + 1) if is_whole else None


def _judge(run: Run, judge: Judge, outcomes: Outcomes, *, before: int) -> Problem | None:
    """Judge the steps before one, and record what was wrong with them; the last of too many."""
    for outcome in outcomes.take(before=before):
        if problem := judge.judge(outcome):
            record_problem(problem, outcome.uids, run_dir=run.run_dir, ranks=run.ranks)
            if judge.too_many:
                return problem
    return None


def _asked(
    run: Run, saving: Saving, bad_samples: BadSamples, stop: StopRequest
) -> tuple[int, int, int, int]:
    """Return what this rank asks of all: to stop, its part of a save, to save, to listen."""
    limit = run.config.run.time_limit_hours
    if limit is not None and stop.seconds > 3600 * limit:
        stop.ask(StopReason.TIME_LIMIT)
    return stop.reason, saving.status, saving.is_time, bad_samples.has_fresh


def _hear(
    asked: Sequence[int], saving: Saving, bad_samples: BadSamples, stop: StopRequest
) -> tuple[StopReason, bool]:
    """Return why the ranks stop after this step, falsy if they do not, and whether all save now.

    Args:
        asked: The highest of what the ranks asked, the same on all.
        saving: Its save under way is taken further.
        bad_samples: Shared where a rank has something to tell.
        stop: Told that its request has been heard.
    """
    reason, status, is_time, has_fresh = asked
    saving.advance(status)
    if has_fresh:
        bad_samples.share()
    if reason:
        stop.hear()
    return StopReason(reason), bool(is_time) or bad_samples.are_too_many


def _save(
    step: int, displays: Displays, saving: Saving, judge: Judge, bad_samples: BadSamples
) -> None:
    """Begin to save the state after so many steps; all of them have been judged."""
    if highest([bad_samples.has_fresh])[0]:
        bad_samples.share()
    progress = {"stability": judge.state(), "bad_samples": bad_samples.state()}
    saving.begin(step, {**displays.state(), **progress})


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
                compiled=run.config.engine.compiles_on(run.device.type),
            )
            if batch.step > first:
                run.heartbeat.note(batch.step, "reading data")
