import math

import pytest
import torch

from retfm_dist.train import metrics as metrics_module
from retfm_dist.train.metrics import Interval, metrics_line, peak_memory_bytes
from retfm_dist.train.schedule import plan_run
from tests.fakes.training import tiny_config

CPU = torch.device("cpu")
YES, NO = torch.tensor(True), torch.tensor(False)


class FakeClock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_an_interval_is_a_mean_and_a_rate():
    clock = FakeClock()
    interval = Interval(global_batch_size=64, device=CPU, clock=clock)
    for loss in (1.0, 2.0, 6.0):
        interval.add(torch.tensor(loss), YES)
        clock.now += 2.0
    metrics = interval.close(wait_s=1.5, forward_s=1.0)
    assert metrics["train/loss"] == 3.0
    assert metrics["perf/images_per_s"] == 32.0
    assert metrics["perf/data_wait_ratio"] == 0.25
    assert metrics["perf/peak_memory_gib"] > 0.05
    assert "perf/slowest_rank" not in metrics


def test_of_several_ranks_the_slowest_is_named(monkeypatch):
    # Loss, steps, wait, forward and memory of four ranks.
    of_each = torch.tensor(
        [[1.0, 1, 0.1, 2.0, 2e9], [3.0, 1, 0.4, 2.2, 1e9], [2.0, 1, 0, 3.0, 1e9], [2.0, 1, 0, 2, 0]]
    )
    monkeypatch.setattr(metrics_module, "gather_each", lambda values: of_each.double())
    clock = FakeClock()
    interval = Interval(global_batch_size=64, device=CPU, clock=clock)
    clock.now += 1.0
    metrics = interval.close(wait_s=0.1, forward_s=2.0)
    assert metrics["train/loss"] == 2.0
    assert metrics["perf/data_wait_ratio"] == pytest.approx(0.4)
    assert metrics["perf/peak_memory_gib"] == pytest.approx(2e9 / 2**30)
    assert metrics["perf/slowest_rank"] == 2
    assert metrics["perf/slowest_rank_ratio"] == pytest.approx(3.0 / 2.1)


def test_the_next_interval_begins_afresh():
    clock = FakeClock()
    interval = Interval(global_batch_size=10, device=CPU, clock=clock)
    interval.add(torch.tensor(9.0), YES)
    clock.now += 1.0
    interval.close(wait_s=0.0, forward_s=1.0)
    interval.add(torch.tensor(5.0), YES)
    clock.now += 4.0
    metrics = interval.close(wait_s=0.0, forward_s=1.0)
    assert (metrics["train/loss"], metrics["perf/images_per_s"]) == (5.0, 2.5)


def test_a_line_says_where_it_stands(tmp_path):
    plan = plan_run(tiny_config(tmp_path), steps_per_epoch=4)
    metrics = {"train/loss": 0.5, "perf/images_per_s": 3.0}
    line = metrics_line(metrics, step=2, plan=plan, global_batch_size=8)
    assert line == {
        "step": 2,
        "epoch": 0.5,
        "images_seen": 16,
        "train/loss": 0.5,
        "train/lr": plan.peak_lr / 2,  # of the second update, in a warm-up of two
        "perf/images_per_s": 3.0,
    }


def test_peak_memory_is_in_bytes():
    assert 50e6 < peak_memory_bytes(CPU) < 1e12


def test_an_interval_goes_on_where_an_earlier_start_left_it():
    clock = FakeClock()
    first = Interval(global_batch_size=10, device=CPU, clock=clock)
    first.add(torch.tensor(1.0), YES)
    first.add(torch.tensor(2.0), YES)
    second = Interval(global_batch_size=10, device=CPU, clock=clock, begun=first.state())
    second.add(torch.tensor(6.0), YES)
    clock.now += 4.0
    metrics = second.close(wait_s=0.0, forward_s=1.0)
    assert metrics["train/loss"] == 3.0
    assert metrics["perf/images_per_s"] == 2.5  # of this start alone, whose time is known
    assert second.state() == {"loss_sum": 0.0, "num_steps": 0}


def test_the_loss_of_a_step_that_changed_no_weight_does_not_count():
    interval = Interval(global_batch_size=10, device=CPU)
    interval.add(torch.tensor(math.nan), NO)
    assert interval.close(wait_s=0.0, forward_s=1.0) is None
    assert interval.state() == {"loss_sum": 0.0, "num_steps": 0}
    interval.add(torch.tensor(1.0), YES)
    interval.add(torch.tensor(math.inf), NO)
    interval.add(torch.tensor(2.0), YES)
    assert interval.state() == {"loss_sum": 3.0, "num_steps": 2}
    assert interval.close(wait_s=0.0, forward_s=1.0)["train/loss"] == 1.5
