import pytest
from scipy import stats

from retfm_dist.statistics.student import Student, student

TWO = Student((0.7, 0.3), (40.0, 2.0))


def test_one_part_is_plain():
    plain = student(9.0)
    assert plain.quantile(0.975) == pytest.approx(stats.t.ppf(0.975, 9))
    assert plain.tail(-1.3) == pytest.approx(stats.t.sf(-1.3, 9))


def test_quantiles_of_parts_are_weighted_by_their_shares():
    expected = 0.7 * stats.t.ppf(0.975, 40) + 0.3 * stats.t.ppf(0.975, 2)
    assert TWO.quantile(0.975) == pytest.approx(expected)


@pytest.mark.parametrize("probability", [1e-9, 0.001, 0.025, 0.3, 0.5, 0.9, 0.999])
def test_the_tail_is_the_inverse_of_the_quantile(probability):
    assert TWO.tail(TWO.quantile(1 - probability)) == pytest.approx(probability, rel=1e-6)


def test_equal_parts_are_one():
    same = Student((0.2, 0.8), (12.0, 12.0))
    assert same.tail(2.0) == pytest.approx(stats.t.sf(2.0, 12))
    assert same.tail(1e200) == 1e-50
