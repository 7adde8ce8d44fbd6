import threading

import pytest

from retfm_dist.train.progress import format_duration, open_progress

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
