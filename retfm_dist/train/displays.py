"""Output of a run while it trains: metrics file, tracker, progress, pictures."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import torch
from typing_extensions import Self

from retfm_dist.ranks.agreement import from_main
from retfm_dist.tracking import NullTracker, Tracker, open_tracker
from retfm_dist.train.effective_time import EffectiveTime, read_begin
from retfm_dist.train.experiment import experiment_of
from retfm_dist.train.interfaces import TrainableModel
from retfm_dist.train.logs import append_line
from retfm_dist.train.metrics import Interval, metrics_line
from retfm_dist.train.mfu import bf16_peak, measured_peak, utilization
from retfm_dist.train.profile import StepProfile
from retfm_dist.train.progress import Progress, open_progress
from retfm_dist.train.reconstructions import Reconstructions, first_inputs
from retfm_dist.train.run import Run
from retfm_dist.train.step import StepResult


class Displays:
    """Shows a run while it goes; a context manager that every rank enters.

    The main rank's displays write; the others take part where all ranks compute together. Left
    by an exception, the tracker marks the run as failed, else as finished or stopped.

    Args:
        run: The run.
        start_step: Steps that were complete when this process started.
        model: What is trained, for its pictures and its FLOPs.
        saved: `state` of the checkpoint that this start continues; None at step 0.
    """

    _tracker: Tracker
    _progress: Progress
    _interval: Interval
    _time: EffectiveTime
    _reconstructions: Reconstructions | None
    is_finished: bool
    """Whether the run has reached its end; set before the displays are left."""

    def __init__(
        self,
        run: Run,
        *,
        start_step: int,
        model: TrainableModel,
        saved: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep the arguments; everything is opened on entry."""
        self._run = run
        self._start_step = start_step
        self._model = model
        self._saved = saved
        self.is_finished = False

    def __enter__(self) -> Self:
        """Read the images of the pictures, open tracker and progress, begin the first interval."""
        run = self._run
        self._reconstructions = self._read_images() if run.plan.reconstruct_every else None
        self._tracker = _open_tracker(run)
        self._peaks = _peaks(run) if run.ranks.is_main else {}
        self._progress = open_progress(
            total_steps=run.plan.total_steps,
            start_step=self._start_step,
            is_main=run.ranks.is_main,
        )
        window = run.config.log.profile_steps if run.ranks.is_main else None
        self._profile = StepProfile(run.run_dir, window, device=run.device)
        run.loader.timings()  # What the pictures' images took is not the steps' waiting.
        self._interval = Interval(
            global_batch_size=run.config.schedule.global_batch_size,
            device=run.device,
            begun=self._saved and self._saved["log_interval"],
        )
        begun_at = from_main(lambda: read_begin(run.run_dir.begun_path), ranks=run.ranks)
        self._time = EffectiveTime(begun_at, self._saved and self._saved["time"])
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close everything; the tracker is told whether the run ended well."""
        self._profile.close()
        self._progress.close()
        if error_type is not None:
            self._tracker.close("FAILED")
        else:
            self._tracker.close("FINISHED" if self.is_finished else "KILLED")

    def state(self) -> dict[str, Any]:
        """Return what a later start needs to go on alike; all ranks call this."""
        return {"log_interval": self._interval.state(), "time": self._time.state()}

    def begin_step(self, step: int) -> None:
        """Start the clock of a step, and the profile where it begins with it; 0-based."""
        self._profile.before(step)
        self._time.begin_step()

    def show(self, step: int, result: StepResult | None) -> None:
        """Count a step, and write the line and the picture that are due after it.

        An interval of steps that changed no weight has no line.

        Args:
            step: Completed steps.
            result: Of the last one; None where it was passed over.
        """
        run = self._run
        self._time.end_step()
        self._profile.after(step - 1)
        if result is not None:
            self._interval.add(result.loss, result.is_updated)
        self._progress.advance(step)
        if run.plan.is_due(step, run.plan.log_every):
            self._log(step)
        if self._reconstructions and run.plan.is_due(step, run.plan.reconstruct_every):
            path = run.run_dir.reconstruction_path(step)
            self._reconstructions.write(path, engine=run.engine, ranks=run.ranks)

    def _read_images(self) -> Reconstructions:
        config = self._run.config
        inputs = first_inputs(
            self._run.loader,
            num_images=config.log.num_reconstructions,
            seed=config.run.seed,
            num_patches=config.model.num_patches,
            device=self._run.device,
        )
        return Reconstructions(inputs, draw=self._model.draw)

    def _log(self, step: int) -> None:
        run = self._run
        wait_s, forward_s = run.loader.timings()["wait_s"], run.engine.forward_clock.take_s()
        host_s = run.engine.host_clock.take_s()
        metrics = self._interval.close(wait_s=wait_s, forward_s=forward_s)
        if run.ranks.is_main and metrics is not None:
            images = run.config.schedule.global_batch_size
            line = metrics_line(metrics, step=step, plan=run.plan, global_batch_size=images)
            for name, peak in self._peaks.items():
                line[name] = utilization(
                    line["perf/images_per_s"],
                    flops_per_image=self._model.flops_per_image,
                    peak=peak,
                    world_size=run.ranks.world_size,
                )
            if host_s is not None:
                line["perf/host_ratio"] = host_s * line["perf/images_per_s"] / images
            line["perf/effective_time_ratio"] = self._time.ratio()
            append_line(run.run_dir.metrics_path, line)
            shown = {name: value for name, value in line.items() if "/" in name}
            self._tracker.log_metrics(shown, step=step)
            self._progress.show(line)


def _peaks(run: Run) -> dict[str, float]:
    """Return what utilizations refer to, by their names: FLOP/s of the datasheet and measured."""
    is_bf16 = run.config.engine.precision == "bf16"
    of_datasheet = bf16_peak(run.device_name) if is_bf16 else None
    peaks = {} if of_datasheet is None else {"perf/mfu": of_datasheet}
    dtype = torch.bfloat16 if is_bf16 else torch.float32
    return peaks | {"perf/mfu_measured": measured_peak(run.device, dtype)}


def _open_tracker(run: Run) -> Tracker:
    """Open the run's tracker on the main rank; the others track nothing."""
    config = run.config
    if not (run.ranks.is_main and config.tracking.mlflow):
        return NullTracker()
    tracker = open_tracker(
        uri=config.tracking.uri,
        experiment=config.tracking.experiment,
        run_name=config.run.name,
        home=config.run.dir.resolve().parent,
        id_path=run.run_dir.tracking_path,
    )
    tracker.log_params(experiment_of(config))
    return tracker
