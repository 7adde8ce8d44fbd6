"""The training loop: lock the run directory, choose where to start, train, mark as done."""

import contextlib
import itertools
import logging
import math
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import torch

from retfm_dist.config import PretrainConfig
from retfm_dist.durable import write_json
from retfm_dist.errors import TrainError
from retfm_dist.ranks.agreement import from_each, from_main, highest
from retfm_dist.ranks.heartbeat import Heartbeat
from retfm_dist.ranks.stopping import StopReason, StopRequest
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.checkpoint.read import open_checkpoint
from retfm_dist.train.displays import Displays
from retfm_dist.train.engine.engine import Engine, SavedState
from retfm_dist.train.experiment import experiment_of
from retfm_dist.train.interfaces import Loader, TrainableModel
from retfm_dist.train.run import Run
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.saving import Saving
from retfm_dist.train.schedule import plan_run
from retfm_dist.train.start import Fresh, describe_start, enter_run_dir
from retfm_dist.train.step import batch_inputs, train_step
from retfm_dist.train.uid_log import log_uids

logger = logging.getLogger(__name__)


def fit(
    config: PretrainConfig,
    *,
    model: TrainableModel,
    build_loader: Callable[[], Loader],
    ranks: Ranks,
    device: torch.device,
    resume: Path | Fresh | None = None,
    stop: StopRequest | None = None,
) -> bool:
    """Train a model for the configured duration, resuming from the run directory if possible.

    A run directory that holds a finished run is left as it is. All ranks call this function; the
    main rank writes the files.

    Args:
        config: The run, checked against the world size.
        model: The model to train. `model.initialize()` is called only if there is no checkpoint.
        build_loader: Opens the data path; called only when there is something left to train.
        ranks: Which rank this is.
        device: Where this rank computes.
        resume: Checkpoint to continue from; "fresh" sets the directory's history aside and starts
            at step 0; None is the newest of the run directory.
        stop: Says whether this rank has been asked to stop; None is never.

    Returns:
        Whether the run is finished. If not, it was asked to stop and has saved its state.

    Raises:
        CheckpointError: There is something to continue, but it cannot be used.
        DataError: The data path is not the one that the checkpoint was made with.
        TrainError: The plan is impossible, the directory is in use, or a loss is not finite.
    """
    run_dir = RunDir(config.run.dir)
    with contextlib.ExitStack() as stack:
        start = stack.enter_context(enter_run_dir(run_dir, config, resume=resume, ranks=ranks))
        if start.is_finished:
            return True
        loader = stack.enter_context(contextlib.closing(build_loader()))
        plan = plan_run(config, steps_per_epoch=loader.steps_per_epoch)
        step, saved, interval = 0, None, None
        if start.checkpoint_dir is None:
            model.initialize()
        else:
            checkpoint = open_checkpoint(start.checkpoint_dir)
            loader.check_state(checkpoint.state["data"])
            step, num_updates = checkpoint.state["step"], checkpoint.state["num_updates"]
            saved = SavedState(checkpoint.weights, checkpoint.moments, num_updates)
            interval = checkpoint.state.get("log_interval")
        engine = Engine(config, model=model.module, ranks=ranks, device=device, saved=saved)
        stack.callback(engine.close)
        heartbeat = stack.enter_context(_beating(config, ranks))
        heartbeat.note(step, "starting")
        run = Run(config, run_dir, plan, ranks, engine, loader, heartbeat)
        from_main(lambda: _describe_start(run, step), ranks=ranks)
        stop = stop or StopRequest(ranks)
        displays = Displays(run, start_step=step, model=model, interval=interval)
        # In this order the tracker is closed before a signal may end the process at once.
        with stop.saving(), displays, Saving(run) as saving:
            reached = _train(run, displays, saving, start_step=step, stop=stop)
            displays.is_finished = reached == plan.total_steps
        if reached == plan.total_steps:
            from_main(lambda: _mark_done(run), ranks=ranks)
        return reached == plan.total_steps


@contextlib.contextmanager
def _beating(config: PretrainConfig, ranks: Ranks) -> Iterator[Heartbeat]:
    """Send heartbeats while this lasts, and watch the others' unless the config says not to."""
    timeout_s = config.run.stall_timeout_s
    with contextlib.closing(Heartbeat(ranks, timeout_s=timeout_s or math.inf)) as heartbeat:
        heartbeat.start(from_each(heartbeat.peer))
        yield heartbeat


def _train(
    run: Run, displays: Displays, saving: Saving, *, start_step: int, stop: StopRequest
) -> int:
    """Train from `start_step` to the end; after each step log, then save, whatever is due.

    Returns:
        Completed steps: all, or less when a rank has been asked to stop. They are saved.
    """
    grad_accum_steps = run.config.grad_accum_steps(run.ranks.world_size)
    with contextlib.closing(_inputs(run, start_step)) as inputs:
        for step in range(start_step, run.plan.total_steps):
            try:
                loss = train_step(
                    run.engine,
                    itertools.islice(inputs, grad_accum_steps),
                    step=step,
                    grad_accum_steps=grad_accum_steps,
                    lr=run.plan.lr(step),
                    ranks=run.ranks,
                )
            except TrainError:  # on all ranks alike, so that they can still save together
                saving.finish(step)
                raise
            run.heartbeat.note(step + 1, "logging")
            displays.show(step + 1, loss)
            reason, is_due = _agree(run, saving, stop, step=step + 1)
            if reason or is_due:
                saving.begin(step + 1, log_interval=displays.interval_state())
            if reason and step + 1 < run.plan.total_steps:
                saving.finish(step + 1)
                logger.info(
                    "stopped by %s after step %d, which is saved; the same command continues",
                    reason.words,
                    step + 1,
                )
                return step + 1
    saving.finish(run.plan.total_steps)
    return run.plan.total_steps


def _agree(run: Run, saving: Saving, stop: StopRequest, *, step: int) -> tuple[StopReason, bool]:
    """Return why the ranks stop after this step, falsy if they do not, and whether a save is due.

    The answers are the same on all ranks; a save under way is taken further.
    """
    limit = run.config.run.time_limit_hours
    if limit is not None and stop.seconds > 3600 * limit:
        stop.ask(StopReason.TIME_LIMIT)
    own = (stop.reason, saving.status, saving.is_due(step))
    asked, status, is_due = highest(own, device=run.engine.device)
    saving.advance(status)
    if reason := StopReason(asked):
        stop.hear()
    return reason, bool(is_due)


def _inputs(run: Run, start_step: int) -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
    """Yield images and noise of every micro-batch from a step to the end, on the device."""
    batches = run.loader.batches(start_step, run.plan.total_steps)
    if run.config.data.log_uids:
        batches = log_uids(batches, run.run_dir.uid_log_path(run.ranks.rank))
    for batch in batches:
        # The first step of a start compiles and allocates; it may take longer than all others.
        doing = "starting" if batch.step == start_step else "computing"
        run.heartbeat.note(batch.step, doing)
        yield batch_inputs(
            batch,
            seed=run.config.run.seed,
            num_patches=run.config.model.num_patches,
            device=run.engine.device,
        )
        if batch.step > start_step:
            run.heartbeat.note(batch.step, "reading data")


def _describe_start(run: Run, step: int) -> None:
    """Write config, environment and cohort, and cut the logs back to `step`; main rank only."""
    describe_start(
        run.run_dir,
        run.config,
        ranks=run.ranks,
        device=run.device_name,
        loader=run.loader,
        step=step,
    )


def _mark_done(run: Run) -> None:
    """Write the DONE file that marks a finished run; main rank only."""
    done = {"step": run.plan.total_steps, "experiment": experiment_of(run.config)}
    write_json(run.run_dir.done_path, done)
    logger.info("finished %d steps in %s", run.plan.total_steps, run.run_dir.path)
