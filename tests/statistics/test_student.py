import numpy as np
import pytest
from scipy import stats

from retfm_dist.statistics.student import Student

TWO = Student(40.0, 0.3, 2.0)


def test_one_part_is_plain():
    plain = Student(9.0)
    assert plain.quantile(0.975) == pytest.approx(stats.t.ppf(0.975, 9))
    assert plain.tail(-1.3) == pytest.approx(stats.t.sf(-1.3, 9))


def test_quantiles_lie_between_those_of_the_parts():
    most, few = stats.t.ppf(0.975, [40, 2])
    assert TWO.quantile(0.975) == pytest.approx(most + 0.3 ** (4 / 3) * (few - most))
    assert Student(40.0, 1.0, 2.0).quantile(0.975) == pytest.approx(few)


@pytest.mark.parametrize("probability", [1e-9, 0.001, 0.025, 0.3, 0.5, 0.9, 0.999])
def test_the_tail_is_the_inverse_of_the_quantile(probability):
    assert TWO.tail(TWO.quantile(1 - probability)) == pytest.approx(probability, rel=1e-6)


def test_equal_parts_are_one():
    same = Student(12.0, 0.8, 12.0)
    assert same.tail(2.0) == pytest.approx(stats.t.sf(2.0, 12))
    assert same.tail(1e200) == 1e-50


@pytest.mark.parametrize(
    ("few", "least", "most"),
    [(1, 0.93, 0.972), (2, 0.945, 0.964), (4, 0.949, 0.958), (9, 0.949, 0.954)],
)
def test_intervals_cover_the_truth_whatever_the_true_share(few, least, most):
    """Of a normal mean whose variance is known but for a share, estimated with few degrees."""
    drawn = stats.chi2.ppf((np.arange(400) + 0.5) / 400, few) / few
    for true_share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98):
        covered = []
        for variance_of_few in true_share * drawn:
            variance = variance_of_few + 1 - true_share
            quantile = Student(1e9, variance_of_few / variance, few).quantile(0.975)
            covered.append(1 - 2 * stats.norm.sf(quantile * np.sqrt(variance)))
        assert least < np.mean(covered) < most
