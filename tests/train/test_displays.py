import dataclasses
import json
import math

import pytest
import torch

from retfm_dist.ranks.world import Ranks
from retfm_dist.train import displays
from retfm_dist.train.displays import Displays
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.run import Job, Run
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.schedule import plan_run
from retfm_dist.train.skips import Skips
from retfm_dist.train.step import StepResult
from tests.fakes.training import FakeLoader, FakeModel, TinyMae, tiny_config

MODEL = FakeModel(TinyMae())


class RecordingTracker:
    def __init__(self):
        self.metrics, self.status = [], None

    def log_params(self, params):
        self.params = params

    def log_metrics(self, metrics, *, step):
        self.metrics.append((step, metrics))

    def close(self, status):
        self.status = status


@pytest.fixture
def run(tmp_path, device):
    config = tiny_config(tmp_path, log__reconstructions_every="2 steps", tracking__mlflow=True)
    engine = Engine(config, model=TinyMae(), ranks=Ranks(), device=device)
    plan = plan_run(config, steps_per_epoch=4)
    loader = FakeLoader(config, Ranks())
    job = Job(config, RunDir(tmp_path), plan, Ranks(), device, loader, None, None, None)
    yield Run(**vars(job), engine=engine, skips=Skips())
    engine.close()


@pytest.fixture
def tracker(monkeypatch):
    tracker = RecordingTracker()
    monkeypatch.setattr(displays, "open_tracker", lambda **options: tracker)
    return tracker


def show(shown, step, loss):
    shown.begin_step(step - 1)
    is_updated = torch.isfinite(loss)
    shown.show(step, StepResult(loss, loss[None], is_updated[None], is_updated))


def test_making_displays_has_no_effect(run, tracker):
    Displays(run, start_step=0, model=MODEL)
    assert not hasattr(tracker, "params")
    assert not list(run.run_dir.path.iterdir())


def test_lines_and_pictures_are_shown_when_due(run, tracker):
    with Displays(run, start_step=0, model=MODEL) as shown:
        for step in (1, 2, 3):
            show(shown, step, torch.tensor(0.5 * step))
        shown.is_finished = True
    lines = [json.loads(line) for line in run.run_dir.metrics_path.read_text().splitlines()]
    assert [(line["step"], line["train/loss"]) for line in lines] == [(1, 0.5), (2, 1.0), (3, 1.5)]
    assert [step for step, _ in tracker.metrics] == [1, 2, 3]
    assert all("/" in name for _, metrics in tracker.metrics for name in metrics)
    assert [path.name for path in run.run_dir.reconstruction_path(0).parent.iterdir()] == [
        "step_00000002.png"
    ]
    assert tracker.status == "FINISHED"
    assert "perf/mfu" not in lines[0], "the datasheet's peak of a CPU is not known"
    assert lines[0]["perf/mfu_measured"] > 0


def test_a_run_that_was_stopped_is_marked_as_such(run, tracker):
    with Displays(run, start_step=0, model=MODEL) as shown:
        show(shown, 1, torch.tensor(0.5))
    assert tracker.status == "KILLED"


def test_an_exception_marks_the_run_as_failed(run, tracker):
    with pytest.raises(ZeroDivisionError), Displays(run, start_step=0, model=MODEL):
        raise ZeroDivisionError
    assert tracker.status == "FAILED"


def test_other_ranks_write_nothing(run, tracker):
    other = dataclasses.replace(run, ranks=Ranks(rank=1, world_size=2))
    with Displays(other, start_step=0, model=MODEL) as shown:
        show(shown, 1, torch.tensor(1.0))
    assert not tracker.metrics
    assert not list(run.run_dir.path.iterdir())


def test_utilization_is_shown_where_the_peak_is_known(run, tracker, monkeypatch):
    monkeypatch.setattr(displays, "bf16_peak", lambda name: 1e9)
    monkeypatch.setattr(displays, "measured_peak", lambda device, dtype: 5e8)
    engine = run.config.engine.model_copy(update={"precision": "bf16"})
    run = dataclasses.replace(run, config=run.config.model_copy(update={"engine": engine}))
    with Displays(run, start_step=0, model=MODEL) as shown:
        show(shown, 1, torch.tensor(1.0))
    (line,) = map(json.loads, run.run_dir.metrics_path.read_text().splitlines())
    assert line["perf/mfu"] == pytest.approx(line["perf/images_per_s"] * 1e6 / 1e9)
    assert line["perf/mfu_measured"] == pytest.approx(2 * line["perf/mfu"])


def test_the_hosts_share_of_a_step_is_shown_where_the_device_is_apart(run, tracker, monkeypatch):
    times = iter([None, 0.002])
    monkeypatch.setattr(run.engine.host_clock, "take_s", lambda: next(times))
    with Displays(run, start_step=0, model=MODEL) as shown:
        show(shown, 1, torch.tensor(0.5))
        show(shown, 2, torch.tensor(0.5))
    computed, apart = map(json.loads, run.run_dir.metrics_path.read_text().splitlines())
    assert "perf/host_ratio" not in computed
    steps_per_s = apart["perf/images_per_s"] / run.config.schedule.global_batch_size
    assert apart["perf/host_ratio"] == pytest.approx(0.002 * steps_per_s)


def test_an_interval_of_bad_steps_alone_has_no_line(run, tracker):
    with Displays(run, start_step=0, model=MODEL) as shown:
        show(shown, 1, torch.tensor(0.5))
        show(shown, 2, torch.tensor(math.nan))
        show(shown, 3, torch.tensor(1.5))
    lines = [json.loads(line) for line in run.run_dir.metrics_path.read_text().splitlines()]
    assert [(line["step"], line["train/loss"]) for line in lines] == [(1, 0.5), (3, 1.5)]
