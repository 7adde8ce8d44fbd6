import json
import threading

import pytest
import torch

from retfm_dist.train.metrics import Interval, append_metrics, metrics_line, peak_memory_bytes
from retfm_dist.train.progress import format_duration, open_progress
from retfm_dist.train.schedule import plan_run
from tests.fakes.training import tiny_config

CPU = torch.device("cpu")


class FakeClock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_an_interval_is_a_mean_and_a_rate():
    clock = FakeClock()
    interval = Interval(global_batch_size=64, device=CPU, clock=clock)
    for loss in (1.0, 2.0, 6.0):
        interval.add(torch.tensor(loss))
        clock.now += 2.0
    metrics = interval.close(wait_s=1.5)
    assert metrics["train/loss"] == 3.0
    assert metrics["perf/images_per_s"] == 32.0
    assert metrics["perf/data_wait_ratio"] == 0.25
    assert metrics["perf/peak_memory_gib"] > 0.05


def test_the_next_interval_begins_afresh():
    clock = FakeClock()
    interval = Interval(global_batch_size=10, device=CPU, clock=clock)
    interval.add(torch.tensor(9.0))
    clock.now += 1.0
    interval.close(wait_s=0.0)
    interval.add(torch.tensor(5.0))
    clock.now += 4.0
    metrics = interval.close(wait_s=0.0)
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
    for _ in range(2):
        append_metrics(tmp_path / "metrics.jsonl", line)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(text) for text in lines] == [line, line]


def test_peak_memory_is_in_bytes():
    assert 50e6 < peak_memory_bytes(CPU) < 1e12


LINE = {
    "step": 3, "train/loss": 0.51234, "train/lr": 1e-3, "perf/images_per_s": 20.0,
    "perf/data_wait_ratio": 0.07,
}  # fmt: skip


def test_without_a_terminal_each_interval_is_a_log_line(tmp_path, caplog):
    with (tmp_path / "log").open("w") as stream, caplog.at_level("INFO"):
        progress = open_progress(total_steps=9, start_step=0, is_main=True, stream=stream)
        progress.advance(3)
        progress.show(LINE)
        progress.close()
    assert "step 3/9  lr 1.00e-03  loss 0.5123  20.0 images/s  data wait 7%" in caplog.text
    assert "left" in caplog.text


def test_on_a_terminal_there_is_a_bar(capsys, tmp_path):
    class Terminal:
        def __init__(self):
            self.text = ""

        def write(self, text):
            self.text += text

        def flush(self):
            pass

        def isatty(self):
            return True

    terminal = Terminal()
    progress = open_progress(total_steps=9, start_step=2, is_main=True, stream=terminal)
    progress.advance(3)
    progress.show(LINE)
    progress.close()
    assert "3/9" in terminal.text
    assert "loss 0.5123" in terminal.text
    assert not [thread for thread in threading.enumerate() if "rich" in thread.name.lower()]


def test_other_ranks_are_silent(caplog):
    progress = open_progress(total_steps=9, start_step=0, is_main=False)
    with caplog.at_level("INFO"):
        progress.advance(1)
        progress.show(LINE)
        progress.close()
    assert not caplog.text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (1e6, "277:46:40")]
)
def test_durations_are_readable(seconds, text):
    assert format_duration(seconds) == text
