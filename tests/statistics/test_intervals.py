import math

import pytest
from scipy import stats
from scipy.stats import binomtest

from retfm_dist.statistics.intervals import MIN_PATIENTS_PER_CLASS, make_interval


def make(value, variance, scale, num_patients=40):
    return make_interval(value, variance, scale=scale, num_patients=num_patients, alpha=0.05)


@pytest.mark.parametrize(
    ("scale", "value", "low", "high"),
    [("unit", 0.97, 0, 1), ("correlation", -0.95, -1, 1), ("positive", 0.02, 0, math.inf)],
)
def test_an_interval_never_leaves_the_range_of_its_metric(scale, value, low, high):
    found = make(value, 0.04, scale)
    assert low < found.low < value < found.high < high


def test_a_plain_interval_is_students():
    quantile = stats.t.ppf(0.975, 39)
    found = make(0.3, 0.01, "plain")
    assert (found.low, found.high) == pytest.approx((0.3 - 0.1 * quantile, 0.3 + 0.1 * quantile))


def test_a_share_of_independent_images_has_wilsons_interval():
    """With very many patients t is normal, and the effective number is the real one."""
    hits, total = 270, 300
    share = hits / total
    found = make(share, share * (1 - share) / total, "share", num_patients=10**7)
    reference = binomtest(hits, total).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_all_or_none_still_has_an_interval(share):
    found = make(share, 0.0, "share", num_patients=20)
    assert 0 <= found.low <= share <= found.high <= 1
    assert 0.1 < found.high - found.low < 0.3


def test_where_no_interval_holds_the_reason_is_given():
    assert (
        "9 patients of the rarest class" in make(0.8, 0.01, "unit", MIN_PATIENTS_PER_CLASS - 1).note
    )
    assert make(math.nan, 0.01, "unit").note == "undefined on these images"
    assert "the end of its range" in make(1.0, 0.01, "unit").note
    assert "no patient changes the value" in make(1.0, 0.0, "unit").note
    assert make(0.8, 0.01, "unit", MIN_PATIENTS_PER_CLASS).note == ""
