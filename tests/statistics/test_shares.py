import numpy as np
import pytest
from scipy import stats

from retfm_dist.statistics.shares import clustered_share


def coverage(num_groups, size, share, correlation, repetitions=400):
    """Share of intervals with the truth; cases of a group agree with this correlation."""
    rng = np.random.default_rng([num_groups, size, int(100 * share), int(10 * correlation)])
    groups = np.repeat(np.arange(num_groups), size)
    covered = 0
    for _ in range(repetitions):
        of_group = np.full(num_groups, share)
        if correlation == 1:
            of_group = (rng.random(num_groups) < share).astype(float)
        elif correlation:
            spread = 1 / correlation - 1
            of_group = rng.beta(share * spread, (1 - share) * spread, num_groups)
        found = clustered_share(rng.random(len(groups)) < of_group[groups], groups, alpha=0.05)
        covered += found.low <= share <= found.high
    return covered / repetitions


@pytest.mark.parametrize("correlation", [0, 0.3, 1])
@pytest.mark.parametrize("share", [0.33, 0.5, 0.8])
@pytest.mark.parametrize(("num_groups", "size"), [(2, 2), (3, 4), (6, 2), (12, 4), (20, 1)])
def test_intervals_cover_the_truth_however_the_cases_go_together(
    num_groups, size, share, correlation
):
    # An exact interval covers at least 95 %; three errors of the simulation below it.
    assert coverage(num_groups, size, share, correlation) >= 0.95 - 3 * 0.011


@pytest.mark.parametrize(("count", "size"), [(5, 5), (0, 7)])
def test_where_all_agree_the_interval_is_that_of_as_many_groups(count, size):
    found = clustered_share(np.full(3 * size, count > 0), np.repeat(np.arange(size), 3), alpha=0.05)
    exact = stats.binomtest(count, size).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_a_case_told_four_times_tells_no_more():
    holds = np.array([1, 1, 1, 0, 1, 0, 0, 1], bool)
    once = clustered_share(holds, np.arange(8), alpha=0.05)
    often = clustered_share(np.repeat(holds, 4), np.repeat(np.arange(8), 4), alpha=0.05)
    assert often.value == once.value
    assert often.high - often.low >= once.high - once.low


def test_groups_that_are_alike_are_worth_all_their_cases():
    holds, groups = np.array([1, 0] * 6, bool), np.repeat(np.arange(6), 2)
    found = clustered_share(holds, groups, alpha=0.05)
    exact = stats.binomtest(6, 12).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_one_group_has_no_interval():
    found = clustered_share(np.array([True, True]), np.array([0, 0]), alpha=0.05)
    assert (found.value, found.low, found.high) == (1.0, None, None)
