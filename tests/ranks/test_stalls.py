import math

import pytest

from retfm_dist.ranks.stalls import Beat, Heard, describe_stall, find_silent, find_stalled


def heard(rank, *, idle_s=0.5, silent_s=0.5, step=7, doing="computing"):
    """What was heard of a rank `silent_s` before time 1000, idle for `idle_s` in all."""
    return Heard(Beat(rank, f"host{rank}", step, doing, idle_s - silent_s), at=1000.0 - silent_s)


def stalled(*items, timeout_s=60.0):
    return [item.beat.rank for item in find_stalled(items, now=1000.0, timeout_s=timeout_s)]


def test_nobody_is_blamed_while_there_is_progress():
    assert stalled(heard(0), heard(1, idle_s=59)) == []
    assert stalled() == []


def test_a_silent_rank_is_blamed_and_not_those_that_wait_for_it():
    assert stalled(heard(0, idle_s=62), heard(1, idle_s=61, silent_s=61)) == [1]


@pytest.mark.parametrize(
    ("one", "other", "blamed"),
    [
        ({"step": 7}, {"step": 6}, [1]),
        ({"doing": "computing"}, {"doing": "reading data"}, [1]),
        ({"doing": "logging"}, {"doing": "computing", "step": 6}, [1]),
        ({"doing": "saving", "idle_s": 700}, {"doing": "reading data"}, [0]),
        ({}, {}, [0, 1]),
    ],
)
def test_of_ranks_that_all_live_the_one_furthest_behind_is_blamed(one, other, blamed):
    first, second = ({"idle_s": 70.0, **kwargs} for kwargs in (one, other))
    assert stalled(heard(0, **first), heard(1, **second)) == blamed


def test_one_that_began_to_wait_a_little_earlier_is_not_blamed():
    waits = heard(0, idle_s=60.4, step=8)
    assert stalled(waits, heard(1, idle_s=59.8, step=7)) == [1]
    assert stalled(waits, heard(1, idle_s=58, silent_s=58)) == [1]
    # One that has just begun to work holds nobody up for a minute.
    assert stalled(waits, heard(1, idle_s=3, step=7)) == [0]


@pytest.mark.parametrize("doing", ["starting", "saving"])
def test_starting_and_saving_may_take_longer(doing):
    assert stalled(heard(0, idle_s=599, doing=doing)) == []
    assert stalled(heard(0, idle_s=601, doing=doing)) == [0]
    # Whatever a rank that lives is doing, it says so once a second.
    assert stalled(heard(0), heard(1, idle_s=61, silent_s=61, doing=doing)) == [1]


def test_a_rank_that_has_ended_is_missed_by_nobody():
    assert stalled(heard(0), heard(1, idle_s=500, silent_s=500, doing="ended")) == []


def test_without_a_timeout_nothing_is_a_stall():
    assert stalled(heard(0, idle_s=1e6, silent_s=1e6), timeout_s=math.inf) == []


def test_the_line_names_rank_host_step_and_what_it_did_last():
    line = describe_stall([heard(1, idle_s=61, silent_s=61, doing="reading data")], now=1000.0)
    assert line.startswith(
        "rank 1 on host1 has made no progress for 61 s: step 7, reading data, no heartbeat for 61 s"
    )
    many = describe_stall([heard(rank, idle_s=70) for rank in range(9)], now=1000.0)
    assert "and 5 more ranks" in many
    assert "no heartbeat" not in many


def test_who_sees_one_rank_only_blames_it_for_silence_alone():
    """Rank 0 may wait for another that rank 1 knows nothing of."""
    waits, gone = heard(0, idle_s=500), heard(0, idle_s=61, silent_s=61)
    assert find_silent([waits], now=1000.0, timeout_s=60.0) == []
    assert find_silent([gone], now=1000.0, timeout_s=60.0) == [gone]
