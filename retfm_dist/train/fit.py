"""Training of a run: lock its directory, choose where to start, train, go back if need be."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from retfm_dist.config import PretrainConfig
from retfm_dist.durable import write_json
from retfm_dist.ranks.agreement import from_main
from retfm_dist.ranks.restarts import refuse_repetition
from retfm_dist.ranks.stopping import StopRequest
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.bad_samples import BadSamples, most_bad_samples
from retfm_dist.train.checkpoint.read import open_checkpoint
from retfm_dist.train.copier import copying
from retfm_dist.train.displays import Displays
from retfm_dist.train.engine.engine import Engine, SavedState
from retfm_dist.train.experiment import changes_of, experiment_of
from retfm_dist.train.interfaces import Loader, TrainableModel
from retfm_dist.train.loop import Outcome, train
from retfm_dist.train.resume import choose_checkpoint
from retfm_dist.train.rollback import plan_rollback
from retfm_dist.train.run import Job, Run
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.same_start import check_same_start
from retfm_dist.train.saving import Saving
from retfm_dist.train.schedule import plan_run
from retfm_dist.train.skips import Skips, Window, read_windows
from retfm_dist.train.stability import Judge
from retfm_dist.train.start import StartRequest, describe_start, enter_run_dir
from retfm_dist.train.watch import FailureNotes, watching

logger = logging.getLogger(__name__)


def fit(
    config: PretrainConfig,
    *,
    build_model: Callable[[], TrainableModel],
    build_loader: Callable[[], Loader],
    ranks: Ranks,
    device: torch.device,
    request: StartRequest = StartRequest(),  # noqa: B008 - immutable
    stop: StopRequest | None = None,
) -> bool:
    """Train a model for the configured duration, resuming from the run directory if possible.

    A run directory that holds a finished run is left as it is. All ranks call this function; the
    main rank writes the files.

    Args:
        config: The run, checked against the world size.
        build_model: Builds the model to train, anew each time that the run goes back to a
            checkpoint. Its `initialize()` is called only if there is none.
        build_loader: Opens the data path; called only when there is something left to train.
        ranks: Which rank this is.
        device: Where this rank computes.
        request: From which checkpoint to start, and what may change.
        stop: Says whether this rank has been asked to stop; None is never.

    Returns:
        Whether the run is finished. If not, it was asked to stop and has saved its state.

    Raises:
        CheckpointError: There is something to continue, but it cannot be used.
        ConfigError: A field is to be overridden that a run cannot change.
        RepeatedFailureError: The launcher has restarted what fails at the same place again.
        DataError: The data path is not the one that the checkpoint was made with.
        TrainError: The plan is impossible, the directory is in use, or steps in a row changed no
            weight and going back did not help.
    """
    run_dir = RunDir(config.run.dir)
    with contextlib.ExitStack() as stack:
        start = stack.enter_context(enter_run_dir(run_dir, config, request=request, ranks=ranks))
        if start.is_finished:
            return True
        # Closed after the heartbeat: a store may take longer than a step ever does.
        copier = stack.enter_context(copying(config, run_dir, ranks))
        refuse_repetition(run_dir.failures_path, begins=start.name, ranks=ranks)
        notes = FailureNotes(run_dir.failures_path, start.name, ranks)
        heartbeat = stack.enter_context(watching(notes, stall_timeout_s=config.run.stall_timeout_s))
        loader = stack.enter_context(contextlib.closing(build_loader()))
        plan = plan_run(config, steps_per_epoch=loader.steps_per_epoch)
        check_same_start(config, loader, plan)
        job = Job(config, run_dir, plan, ranks, device, loader, heartbeat, notes, copier)
        stop = stop or StopRequest(ranks)
        checkpoint_dir = start.checkpoint_dir
        while True:
            outcome = _train_from(job, build_model(), checkpoint_dir, stop)
            if outcome.bad is None:
                break
            checkpoint_dir = _go_back(job, outcome)
        if outcome.step == plan.total_steps:
            from_main(lambda: _mark_done(job), ranks=ranks)
        return outcome.step == plan.total_steps


def _train_from(
    job: Job, model: TrainableModel, checkpoint_dir: Path | None, stop: StopRequest
) -> Outcome:
    """Train from a checkpoint, or step 0, to the end, a request to stop or too many bad steps."""
    config, ranks = job.config, job.ranks
    step, saved, state = 0, None, {}
    if checkpoint_dir is None:
        model.initialize()
    else:
        checkpoint = open_checkpoint(checkpoint_dir)
        state = checkpoint.state
        job.loader.check_state(state["data"])
        step = state["step"]
        saved = SavedState(
            checkpoint.weights, checkpoint.moments, state["num_updates"], checkpoint.average
        )
    job.heartbeat.note(step, "starting")
    if config.engine.compiles_on(job.device.type):
        model.compile()
    engine = Engine(config, model=model.module, ranks=ranks, device=job.device, saved=saved)
    with contextlib.closing(engine):
        overrides = _overrides(config, state)
        run = Run(**vars(job), engine=engine, skips=_skips(job), overrides=overrides)
        from_main(lambda: _describe_start(run, step, model), ranks=ranks)
        displays = Displays(run, start_step=step, model=model, saved=state or None)
        judge = Judge(config.stability, state.get("stability"))
        bad = BadSamples(
            job.run_dir.bad_samples_path,
            most=most_bad_samples(config.data.max_bad_ratio, num_samples=job.loader.num_samples),
            steps_per_epoch=job.loader.steps_per_epoch,
            ranks=ranks,
            begun=state.get("bad_samples"),
        )
        # In this order the tracker is closed before a signal may end the process at once.
        noting = job.notes.noting(job.heartbeat)
        with stop.saving(), displays, Saving(run, start_step=step) as saving, noting:
            outcome = train(run, displays, saving, judge, bad, start_step=step, stop=stop)
            displays.is_finished = outcome.step == job.plan.total_steps and outcome.bad is None
    return outcome


def _go_back(job: Job, outcome: Outcome) -> Path | None:
    """Add a window to those that are passed over, and return the checkpoint to go on from."""
    bad, problem = outcome.bad, outcome.problem
    assert bad is not None
    assert problem is not None

    def decide() -> Path | None:
        plan_rollback(job.run_dir, job.config, bad, problem=problem)
        return choose_checkpoint(job.run_dir, job.config, explicit=None)

    return from_main(decide, ranks=job.ranks)


def _skips(job: Job) -> Skips:
    """Return the windows of the config and of earlier rollbacks, the same on all ranks."""
    configured = tuple(Window(*window) for window in job.config.stability.skip_steps)
    rolled_back = from_main(lambda: read_windows(job.run_dir.skips_path), ranks=job.ranks)
    return Skips(configured, rolled_back)


def _overrides(config: PretrainConfig, state: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return what has been changed in the course of the run, by this start too."""
    if not state:
        return ()
    new = [
        {"step": state["step"], "field": change.field, "from": change.before, "to": change.now}
        for change in changes_of(config, state["experiment"])
    ]
    return (*state["overrides"], *new)


def _describe_start(run: Run, step: int, model: TrainableModel) -> None:
    """Write config, environment and cohort, and cut the logs back to `step`; main rank only."""
    describe_start(
        run.run_dir,
        run.config,
        ranks=run.ranks,
        engine={
            "accelerator": run.device_name,
            "optimizer": run.engine.optimizer_name,
            "attention": model.attention(run.device),
        },
        loader=run.loader,
        step=step,
        overrides=run.overrides,
    )


def _mark_done(job: Job) -> None:
    """Write the DONE file that marks a finished run; main rank only."""
    done = {"step": job.plan.total_steps, "experiment": experiment_of(job.config)}
    write_json(job.run_dir.done_path, done)
    logger.info("finished %d steps in %s", job.plan.total_steps, job.run_dir.path)
