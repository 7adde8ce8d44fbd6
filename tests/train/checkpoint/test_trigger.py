import math

import pytest

from retfm_dist.config.schema import CheckpointConfig
from retfm_dist.train.checkpoint.trigger import Trigger, young_daly_interval_s


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def trigger(every, *, every_steps=0, hours=24.0):
    clock = Clock()
    interval = CheckpointConfig(every=every).every
    found = Trigger(
        interval, every_steps=every_steps, time_between_failures_s=3600 * hours, clock=clock
    )
    return found, clock


def test_steps_are_due_by_the_step_alone_also_while_one_is_written():
    found, _ = trigger("3 steps", every_steps=3)
    due = [step for step in range(1, 10) if found.is_planned(step)]
    assert due == [3, 6, 9]


@pytest.mark.parametrize(("every", "seconds"), [("2 minutes", 120), ("0.5 hours", 1800)])
def test_a_time_is_due_by_the_clock_and_waits_for_the_one_before(every, seconds):
    found, clock = trigger(every)
    clock.now = seconds - 1
    assert not found.is_time(is_saving=False)
    clock.now = seconds
    assert not found.is_time(is_saving=True)
    assert found.is_time(is_saving=False)
    found.saved(stall_s=1.0)
    assert not found.is_time(is_saving=False)
    clock.now = 2 * seconds
    assert found.is_time(is_saving=False)


def test_continuous_is_due_as_soon_as_the_one_before_is_written():
    found, _ = trigger("continuous")
    assert found.is_time(is_saving=False)
    found.saved(stall_s=3.0)
    assert not found.is_time(is_saving=True)
    assert found.is_time(is_saving=False)


def test_auto_measures_once_and_then_keeps_to_the_formula():
    found, clock = trigger("auto", hours=2)
    clock.now = 59
    assert not found.is_time(is_saving=False)
    clock.now = 60
    assert found.is_time(is_saving=False)
    found.saved(stall_s=0.5)
    expected = math.sqrt(2 * 0.5 * 7200)
    clock.now = 60 + expected - 0.1
    assert not found.is_time(is_saving=False)
    clock.now = 60 + expected
    assert found.is_time(is_saving=False)


def test_the_formula_loses_the_least():
    """Against the share of time lost at interval t: C / t for saving and t / (2 M) for repeating."""
    cost_s, between_s = 4.0, 10_000.0
    best = young_daly_interval_s(cost_s=cost_s, time_between_failures_s=between_s)

    def lost(interval):
        return cost_s / interval + interval / (2 * between_s)

    assert all(lost(best) <= lost(best * factor) for factor in (0.5, 0.9, 1.1, 2))
    assert best == pytest.approx(282.84, abs=0.01)
