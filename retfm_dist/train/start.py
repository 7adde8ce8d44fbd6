"""Start of training: lock the run directory, choose where to start, describe the run."""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retfm_dist.config import PretrainConfig
from retfm_dist.config.load import to_yaml
from retfm_dist.durable import write_json, write_text
from retfm_dist.ranks.agreement import from_main
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.environment import describe_environment
from retfm_dist.train.experiment import check_overrides
from retfm_dist.train.interfaces import Loader
from retfm_dist.train.logs import trim_logs
from retfm_dist.train.resume import choose_checkpoint, is_finished, set_history_aside
from retfm_dist.train.run_copy import RunCopy
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.run_lock import hold_run_lock

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StartRequest:
    """How a run is to start, as its user asks.

    Attributes:
        resume: Checkpoint to continue from; None is the newest of the run directory.
        fresh: Whether to set the directory's history aside and start at step 0.
        overridden: Fields of the experiment that the config may change from here on.
    """

    resume: Path | None = None
    fresh: bool = False
    overridden: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Start:
    """Where a run starts.

    Attributes:
        is_finished: Whether there is nothing left to do.
        checkpoint_dir: Verified checkpoint to continue from; None starts at step 0.
    """

    is_finished: bool
    checkpoint_dir: Path | None

    @property
    def name(self) -> str:
        """Name of the checkpoint, or of step 0."""
        return "step 0" if self.checkpoint_dir is None else self.checkpoint_dir.name


@contextlib.contextmanager
def enter_run_dir(
    run_dir: RunDir, config: PretrainConfig, *, request: StartRequest, ranks: Ranks
) -> Iterator[Start]:
    """Hold the run directory's lock and yield where to start, the same on every rank.

    Args:
        run_dir: The run directory.
        config: The run.
        request: How to start.
        ranks: Which rank this is; the main rank locks and decides.

    Raises:
        CheckpointError: There is something to continue, but it cannot be used.
        ConfigError: A field is to be overridden that a run cannot change.
        TrainError: Another process trains in the directory, or it cannot be written.
    """
    with contextlib.ExitStack() as stack:

        def lock_and_decide() -> Start:
            stack.enter_context(hold_run_lock(run_dir.lock_path))
            check_overrides(request.overridden)
            if request.fresh and (old := set_history_aside(run_dir)) is not None:
                logger.info("%s: the earlier history now lies in %s", run_dir.path, old.name)
            if config.checkpoint.copy_to and not request.fresh and request.resume is None:
                RunCopy(config.checkpoint.copy_to, run_dir).fetch()
            if is_finished(run_dir, config, overridden=request.overridden):
                if config.checkpoint.copy_to:
                    RunCopy(config.checkpoint.copy_to, run_dir).complete()
                logger.info("%s: this run has finished; nothing to do", run_dir.path)
                return Start(is_finished=True, checkpoint_dir=None)
            chosen = choose_checkpoint(
                run_dir, config, explicit=request.resume, overridden=request.overridden
            )
            logger.info("starting from %s", "step 0" if chosen is None else chosen)
            return Start(is_finished=False, checkpoint_dir=chosen)

        yield from_main(lock_and_decide, ranks=ranks)


def describe_start(
    run_dir: RunDir,
    config: PretrainConfig,
    *,
    ranks: Ranks,
    engine: Mapping[str, str],
    loader: Loader,
    step: int,
    overrides: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write config, environment and cohort card of this start, and cut the logs back to `step`.

    For the main rank, once nothing can refuse the start any more.

    Args:
        run_dir: The run directory.
        config: The run.
        ranks: For the world size.
        engine: What computes: "accelerator", "optimizer" and "attention".
        loader: Says who is in the images.
        step: Completed steps.
        overrides: What has been changed in the course of the run, and at which step.
    """
    write_text(run_dir.config_path, to_yaml(config))
    write_json(run_dir.environment_path, describe_environment(config, ranks=ranks, engine=engine))
    if (cohort := loader.cohort()) is not None:
        write_json(run_dir.cohort_path, cohort)
    loader.write_membership(run_dir.membership_path)
    if overrides:
        write_json(run_dir.overrides_path, list(overrides))
    trim_logs(run_dir, step)
