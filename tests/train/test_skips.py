import random

import pytest

from retfm_dist.errors import CheckpointError
from retfm_dist.train.skips import Skips, Window, read_windows, write_windows


def test_segments_are_the_steps_that_no_window_contains():
    draw = random.Random(0)
    for _ in range(200):
        windows = []
        for _ in range(draw.randint(0, 4)):
            begin = draw.randint(0, 20)
            windows.append(Window(begin, begin + draw.randint(1, 8)))
        cut = draw.randint(0, len(windows))
        skips = Skips(tuple(windows[:cut]), tuple(windows[cut:]))
        begin, end = sorted((draw.randint(0, 25), draw.randint(0, 25)))
        steps = [step for one, other in skips.segments(begin, end) for step in range(one, other)]
        assert steps == [step for step in range(begin, end) if not skips.contains(step)]
        assert all(one < other for one, other in skips.segments(begin, end))


def test_windows_are_read_back_in_their_order(tmp_path):
    path = tmp_path / "skips.json"
    assert read_windows(path) == ()
    windows = (Window(9, 12), Window(3, 5))
    write_windows(path, windows)
    assert read_windows(path) == windows


@pytest.mark.parametrize("content", ["{", "3", '[{"begin": 1}]', '[{"from": 1, "end": 2}]'])
def test_a_damaged_list_is_refused(tmp_path, content):
    (tmp_path / "skips.json").write_text(content)
    with pytest.raises(CheckpointError, match="skips.json: damaged list of windows"):
        read_windows(tmp_path / "skips.json")
