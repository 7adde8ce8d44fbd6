"""The training loop, from the decision where to start to the mark that it is done."""

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from retfm_dist.config import PretrainConfig
from retfm_dist.config.load import config_hash
from retfm_dist.durable import write_json
from retfm_dist.ranks.agreement import from_main
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.checkpoint import (
    Checkpoint,
    open_checkpoint,
    prune_checkpoints,
    write_checkpoint,
)
from retfm_dist.train.displays import Displays, closing
from retfm_dist.train.engine.engine import Engine, SavedState
from retfm_dist.train.engine.process_group import start_ranks
from retfm_dist.train.interfaces import DrawReconstructions, Loader
from retfm_dist.train.resume import choose_checkpoint, is_finished
from retfm_dist.train.run_dir import (
    COMPUTE_LIBRARIES,
    RunDir,
    describe_environment,
    describe_start,
    drop_lines_after,
    experiment_of,
)
from retfm_dist.train.run_lock import hold_run_lock
from retfm_dist.train.schedule import Plan, plan_run
from retfm_dist.train.step import batch_inputs, train_step
from retfm_dist.versions import software_versions

logger = logging.getLogger(__name__)


def fit(
    config: PretrainConfig,
    *,
    model: nn.Module,
    loader: Loader,
    ranks: Ranks,
    draw_reconstructions: DrawReconstructions,
    initialize: Callable[[], None] = lambda: None,
    resume: Path | None = None,
) -> None:
    """Train a model to the end of its plan, continuing what the run directory holds.

    Args:
        config: The run.
        model: Masked autoencoder on the CPU in fp32: forward(images uint8 [B, 3, S, S],
            noise [B, L]) -> named tuple with `loss`. Trained in place.
        loader: The data path.
        ranks: Which rank this is.
        draw_reconstructions: Draws the model's reconstruction of given images.
        initialize: Gives the model its first weights; called only when there is nothing to
            continue. Left out, the model is taken as it is.
        resume: Checkpoint to continue from; None is the newest of the run directory.

    Raises:
        CheckpointError: There is something to continue, but it cannot be used.
        DataError: The data path is not the one that the checkpoint was made with.
        TrainError: The plan is impossible, the directory is in use, or a loss is not finite.
    """
    run_dir = RunDir(config.run.dir)
    plan = plan_run(config, steps_per_epoch=loader.steps_per_epoch)
    device = start_ranks(ranks)
    with contextlib.ExitStack() as stack:
        start = from_main(lambda: _choose_start(stack, run_dir, config, resume), ranks=ranks)
        if start.is_finished:
            return
        checkpoint = None if start.checkpoint is None else open_checkpoint(start.checkpoint)
        if checkpoint is None:
            initialize()
        else:
            loader.check_state(checkpoint.state["data"])
        saved = _saved_state(checkpoint)
        engine = Engine(config, model=model, ranks=ranks, device=device, saved=saved)
        stack.callback(engine.close)
        step = 0 if checkpoint is None else checkpoint.state["step"]
        from_main(lambda: _describe_start(run_dir, config, ranks, device, step), ranks=ranks)
        displays = Displays(
            config,
            plan=plan,
            ranks=ranks,
            engine=engine,
            loader=loader,
            start_step=step,
            draw=draw_reconstructions,
        )
        with closing(displays):
            _train(Run(config, plan, ranks, engine, loader), displays, start_step=step)
        from_main(lambda: _mark_done(run_dir, config, plan), ranks=ranks)


@dataclass(frozen=True)
class Run:
    """What a run's steps need, on one rank."""

    config: PretrainConfig
    plan: Plan
    ranks: Ranks
    engine: Engine
    loader: Loader


def _train(run: Run, displays: Displays, *, start_step: int) -> None:
    """Make all remaining steps; after each comes what is due, metrics before checkpoint."""
    grad_accum_steps = run.config.grad_accum_steps(run.ranks.world_size)
    inputs = _inputs(run, start_step)
    for step in range(start_step, run.plan.total_steps):
        loss = train_step(
            run.engine,
            itertools.islice(inputs, grad_accum_steps),
            step=step,
            grad_accum_steps=grad_accum_steps,
            lr=run.plan.lr(step),
            ranks=run.ranks,
        )
        displays.show(step + 1, loss)
        if run.plan.is_due(step + 1, run.plan.checkpoint_every):
            _save(run, step + 1)


def _inputs(run: Run, start_step: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield images and noise of every micro-batch from a step to the end, on the device."""
    for batch in run.loader.batches(start_step, run.plan.total_steps):
        yield batch_inputs(
            batch,
            seed=run.config.run.seed,
            num_patches=run.config.model.num_patches,
            device=run.engine.device,
        )


def _save(run: Run, step: int) -> None:
    """Write the checkpoint after `step` steps and remove the oldest; all ranks call this."""
    weights, moments = run.engine.gather_weights(), run.engine.gather_moments()
    state = {
        "step": step,
        "images_seen": step * run.config.schedule.global_batch_size,
        "num_updates": run.engine.num_updates(),
        "data": run.loader.state(),
        "experiment": experiment_of(run.config),
        "config": run.config.model_dump(mode="json"),
        "config_hash": config_hash(run.config),
        "versions": software_versions(*COMPUTE_LIBRARIES),
    }

    def write() -> None:
        run_dir = RunDir(run.config.run.dir)
        directory = run_dir.checkpoint_dir(step)
        write_checkpoint(directory, weights=weights, moments=moments, state=state)
        prune_checkpoints(run_dir.path, keep_last=run.config.checkpoint.keep_last)

    from_main(write, ranks=run.ranks)


@dataclass(frozen=True)
class _Start:
    """What the main rank decided: where to start, or that there is nothing left to do."""

    checkpoint: Path | None
    is_finished: bool


def _choose_start(
    stack: contextlib.ExitStack, run_dir: RunDir, config: PretrainConfig, resume: Path | None
) -> _Start:
    """Lock the run directory for as long as `stack` lasts, and decide; for the main rank."""
    stack.enter_context(hold_run_lock(run_dir.lock_path))
    if is_finished(run_dir, config):
        logger.info("%s: this run has finished; nothing to do", run_dir.path)
        return _Start(None, is_finished=True)
    chosen = choose_checkpoint(run_dir, config, explicit=resume)
    logger.info("starting from %s", "step 0" if chosen is None else chosen)
    return _Start(chosen, is_finished=False)


def _saved_state(checkpoint: Checkpoint | None) -> SavedState | None:
    if checkpoint is None:
        return None
    return SavedState(checkpoint.weights, checkpoint.moments, checkpoint.state["num_updates"])


def _describe_start(
    run_dir: RunDir, config: PretrainConfig, ranks: Ranks, device: torch.device, step: int
) -> None:
    """Bring the run directory's files to the state of `step`; for the main rank."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    environment = describe_environment(config, ranks=ranks, device=name)
    describe_start(run_dir, config, environment=environment)
    drop_lines_after(run_dir, step)


def _mark_done(run_dir: RunDir, config: PretrainConfig, plan: Plan) -> None:
    """Write the marker of a finished run; for the main rank."""
    done = {"step": plan.total_steps, "experiment": experiment_of(config)}
    write_json(run_dir.done_path, done)
    logger.info("finished %d steps in %s", plan.total_steps, run_dir.path)
