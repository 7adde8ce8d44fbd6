"""What a run shows of itself: metrics file, tracker, progress, pictures."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from retfm_dist.config import PretrainConfig
from retfm_dist.ranks.world import Ranks
from retfm_dist.tracking import NullTracker, Tracker, open_tracker
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.interfaces import DrawReconstructions, Loader
from retfm_dist.train.metrics import Interval, append_metrics, metrics_line
from retfm_dist.train.progress import open_progress
from retfm_dist.train.reconstructions import Reconstructions, first_inputs
from retfm_dist.train.run_dir import RunDir, experiment_of
from retfm_dist.train.schedule import Plan


class Displays:
    """Shows a run while it goes; every rank has one, the main rank's writes.

    Args:
        config: The run.
        plan: Its lengths.
        ranks: Which rank this is.
        engine: The model, for pictures.
        loader: The data path, for its timings and the images of the pictures.
        start_step: Steps that were complete when this process started.
        draw: The model's way to draw.
    """

    def __init__(
        self,
        config: PretrainConfig,
        *,
        plan: Plan,
        ranks: Ranks,
        engine: Engine,
        loader: Loader,
        start_step: int,
        draw: DrawReconstructions,
    ) -> None:
        """Open everything that is shown."""
        self._config = config
        self._plan = plan
        self._ranks = ranks
        self._engine = engine
        self._loader = loader
        self._run_dir = RunDir(config.run.dir)
        self._reconstructions = None if plan.reconstruct_every == 0 else self._keep_images(draw)
        self._tracker = _open_tracker(config, ranks=ranks)
        self._progress = open_progress(
            total_steps=plan.total_steps, start_step=start_step, is_main=ranks.is_main
        )
        loader.timings()  # What the pictures' images took is not the steps' waiting.
        self._interval = Interval(
            global_batch_size=config.schedule.global_batch_size, device=engine.device
        )

    def _keep_images(self, draw: DrawReconstructions) -> Reconstructions:
        inputs = first_inputs(
            self._loader,
            num_images=self._config.log.num_reconstructions,
            seed=self._config.run.seed,
            num_patches=self._config.model.num_patches,
            device=self._engine.device,
        )
        return Reconstructions(inputs, draw=draw)

    def show(self, step: int, loss: torch.Tensor) -> None:
        """Count a step, and write the line and the picture that are due after it.

        Args:
            step: Completed steps.
            loss: This rank's loss of the last one, [] on the device.
        """
        self._interval.add(loss)
        self._progress.advance(step)
        if self._plan.is_due(step, self._plan.log_every):
            self._log(step)
        if self._reconstructions and self._plan.is_due(step, self._plan.reconstruct_every):
            path = self._run_dir.reconstruction_path(step)
            self._reconstructions.write(path, engine=self._engine, ranks=self._ranks)

    def _log(self, step: int) -> None:
        metrics = self._interval.close(wait_s=self._loader.timings()["wait_s"])
        if self._ranks.is_main:
            images = self._config.schedule.global_batch_size
            line = metrics_line(metrics, step=step, plan=self._plan, global_batch_size=images)
            append_metrics(self._run_dir.metrics_path, line)
            shown = {name: value for name, value in line.items() if "/" in name}
            self._tracker.log_metrics(shown, step=step)
            self._progress.show(line)

    def close(self, *, finished: bool) -> None:
        """Stop showing; `finished` tells the tracker how the run ended."""
        self._progress.close()
        self._tracker.close(finished=finished)


@contextmanager
def closing(displays: Displays) -> Iterator[None]:
    """Close the displays at the end, as finished only if nothing was raised."""
    try:
        yield
    except BaseException:
        displays.close(finished=False)
        raise
    displays.close(finished=True)


def _open_tracker(config: PretrainConfig, *, ranks: Ranks) -> Tracker:
    """Open the run's tracker on the main rank; the others track nothing."""
    if not (ranks.is_main and config.tracking.mlflow):
        return NullTracker()
    tracker = open_tracker(
        uri=config.tracking.uri,
        experiment=config.tracking.experiment,
        run_name=config.run.name,
        home=config.run.dir.resolve().parent,
        id_path=RunDir(config.run.dir).tracking_path,
    )
    tracker.log_params(experiment_of(config))
    return tracker
