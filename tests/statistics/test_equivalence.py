import numpy as np
import pytest
from scipy import stats

from retfm_dist.statistics.equivalence import PairedEstimate, equivalence_p, mover_bounds
from retfm_dist.statistics.estimate import FIXED, estimate
from retfm_dist.statistics.suite import measure_auroc


def value_of(value, influence):
    return estimate(np.array([value]), np.asarray(influence)[None], FIXED)


def paired(a, b, influence_a, influence_b, scale="plain"):
    difference = value_of(a - b, np.asarray(influence_a) - influence_b)
    return PairedEstimate(difference, value_of(a, influence_a), value_of(b, influence_b), scale)


def influences(seed, error, num_patients=200):
    drawn = np.random.default_rng(seed).choice([-1.0, 1.0], num_patients)
    return error * drawn / np.sqrt(num_patients)


def two_models(seed, first, second, num_patients):
    """Two models with these AUROCs on patients of one image each, independent of each other."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(num_patients) % 3 == 0).astype(int)
    patients = np.arange(num_patients)
    a, b = (
        measure_auroc(labels, rng.normal(np.sqrt(2) * stats.norm.ppf(area) * labels), patients)
        for area in (first, second)
    )
    return paired(a.value, b.value, a.influence, b.influence, "unit"), a.num_patients


def test_on_a_plain_scale_it_is_two_one_sided_tests():
    item = paired(0.81, 0.80, influences(0, 0.02), influences(1, 0.01))
    error = np.sqrt(item.difference.variance)
    reference = item.difference.reference(200)
    low, high = mover_bounds(item, num_patients=200, p=0.05)
    assert (low, high) == pytest.approx(
        (0.01 - reference.quantile(0.95) * error, 0.01 + reference.quantile(0.95) * error), rel=1e-3
    )
    found = equivalence_p(item, margin=0.05, num_patients=200)
    assert found == pytest.approx(reference.tail(0.04 / error), rel=1e-2)
    assert equivalence_p(item.turned(-1), margin=0.05, num_patients=200) == pytest.approx(found)
    assert item.turned(1) is item


def test_the_p_value_is_where_the_interval_meets_the_margin():
    item, rarest = two_models(0, 0.97, 0.97, 900)
    p = equivalence_p(item, margin=0.05, num_patients=rarest)
    assert p < 0.05
    low, high = mover_bounds(item, num_patients=rarest, p=p)
    by_student = item.difference.reference(rarest).tail(
        (0.05 - abs(item.difference.value)) / np.sqrt(item.difference.variance)
    )
    assert max(high, -low) == pytest.approx(0.05, abs=1e-4) or p == pytest.approx(by_student)
    assert p >= by_student


def test_bounds_of_independent_shares_are_those_of_newcombe():
    # Newcombe 1998, Statistics in Medicine 17, 873-890, method 10: 56/70 against 48/80.
    def share(count, size):
        value, error = count / size, np.sqrt(count / size * (1 - count / size) / size)
        return value, error

    (a, error_a), (b, error_b) = share(56, 70), share(48, 80)
    half = np.ones(5000)  # Student's t of so many patients is normal
    item = paired(
        a, b, np.r_[half, 0 * half] * error_a / np.sqrt(5000),
        np.r_[0 * half, half] * error_b / np.sqrt(5000), "share",
    )  # fmt: skip
    low, high = mover_bounds(item, num_patients=10000, p=0.025)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=2e-4)


def test_near_the_end_of_the_range_equivalence_is_rarely_claimed_falsely():
    def claims(first, second, num_patients):
        found = []
        for seed in range(300):
            item, rarest = two_models(seed, first, second, num_patients)
            by_student = 1.0
            if item.difference.variance > 0:
                by_student = item.difference.reference(rarest).tail(
                    (0.02 - abs(item.difference.value)) / np.sqrt(item.difference.variance)
                )
            p = equivalence_p(item, margin=0.02, num_patients=rarest)
            found.append((p <= 0.05, by_student <= 0.05))
        return np.mean(found, axis=0)

    now, student = claims(0.999, 0.979, 90)
    assert student > 0.1
    assert now <= 0.05 + 3 * 0.0126
    assert claims(0.995, 0.995, 900)[0] >= 0.8


def test_two_perfect_models_are_equivalent_from_enough_patients_on():
    nothing = np.zeros(400)
    item = paired(1.0, 1.0, nothing, nothing, "unit")
    assert equivalence_p(item, margin=0.02, num_patients=100) == pytest.approx(0.98**100)
    assert equivalence_p(item, margin=0.02, num_patients=200) < 0.05


def test_at_the_end_of_the_range_a_bound_is_as_far_as_no_event_in_n_lets_it_be():
    item = paired(1.0, 0.99, np.zeros(200), influences(0, 0.001), "unit")
    low, _ = mover_bounds(item, num_patients=50, p=0.05)
    assert low <= 0.01 - (1 - 0.05 ** (1 / 50)) + 1e-9
    assert equivalence_p(item, margin=0.02, num_patients=50) > 0.05


def test_a_difference_beyond_the_margin_is_not_equivalent():
    item = paired(0.9, 0.8, influences(0, 0.01), influences(1, 0.01), "unit")
    assert equivalence_p(item, margin=0.02, num_patients=200) > 0.5
