import json

import pytest

from retfm_dist.train.effective_time import EffectiveTime, read_begin


class Clock:
    def __init__(self, at=0.0):
        self.at = at

    def __call__(self):
        return self.at


def steps(found, clock, now, *, number, step_s, pause_s):
    for _ in range(number):
        found.begin_step()
        clock.at += step_s
        now.at += step_s + pause_s
        found.end_step()


def test_repeated_and_idle_time_does_not_count():
    clock, now = Clock(50), Clock(1000)
    first = EffectiveTime(1000.0, clock=clock, now=now)
    steps(first, clock, now, number=10, step_s=2.0, pause_s=0.5)  # 20 of 25 s
    assert first.ratio() == pytest.approx(20 / 25)
    saved = first.state()
    steps(first, clock, now, number=4, step_s=2.0, pause_s=0.5)  # lost by a kill: 10 s
    now.at += 15  # until somebody starts it again
    second = EffectiveTime(1000.0, saved, clock=clock, now=now)
    assert second.ratio() == pytest.approx(20 / 50)
    steps(second, clock, now, number=4, step_s=2.0, pause_s=0.5)
    assert second.ratio() == pytest.approx(28 / 60)


def test_time_of_another_run_does_not_count():
    found = EffectiveTime(1000.0, {"begun_at": 1.0, "productive_s": 99.0}, now=Clock(1100))
    assert found.ratio() == 0
    assert found.state() == {"begun_at": 1000.0, "productive_s": 0.0}


def test_a_clock_that_was_set_back_gives_no_nonsense():
    found = EffectiveTime(1000.0, {"begun_at": 1000.0, "productive_s": 5.0}, now=Clock(900))
    assert found.ratio() == 0


def test_the_first_start_is_kept(tmp_path):
    path = tmp_path / "begun.json"
    assert read_begin(path, now=Clock(7.5)) == 7.5
    assert read_begin(path, now=Clock(99.0)) == 7.5
    assert json.loads(path.read_text()) == {"unix_s": 7.5}
    path.write_text("{")
    assert read_begin(path, now=Clock(99.0)) == 99.0
