import numpy as np
import pytest

from retfm_dist.statistics import metric as module
from retfm_dist.statistics.auroc import auroc, auroc_metric
from retfm_dist.statistics.classification import accuracy, decision_metric
from retfm_dist.statistics.metric import RankMetric, jackknife_influence, value_of


def cohort(seed=0, num_images=60):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, num_images), rng.normal(size=num_images), np.arange(num_images) // 2


@pytest.mark.parametrize("kind", ["rank", "additive"])
def test_weights_of_zero_and_one_are_a_subgroup_and_influence_is_leaving_one_out(kind):
    labels, scores, patients = cohort()
    if kind == "rank":
        metric, compute = (
            auroc_metric(labels, scores, patients),
            lambda k: auroc(labels[k], scores[k]),
        )
    else:
        decisions = (scores > 0).astype(int)
        metric = decision_metric(accuracy, labels, decisions, patients, num_classes=2)
        compute = lambda k: (labels == decisions)[k].mean()  # noqa: E731 - one of two
    everybody = np.ones(60, bool)
    assert value_of(metric) == pytest.approx(compute(everybody), abs=1e-14)
    half = np.arange(30) % 2
    assert metric.values(half[None, :])[0] == pytest.approx(compute(half[patients] == 1), abs=1e-14)
    left_out = np.array([compute(patients != p) for p in range(30)])
    assert metric.influence() == pytest.approx(jackknife_influence(left_out), abs=1e-13)
    variance = 29 / 30 * ((left_out - left_out.mean()) ** 2).sum()
    assert (metric.influence() ** 2).sum() == pytest.approx(variance)


def test_the_weights_of_many_rows_are_evaluated_a_few_at_a_time(monkeypatch):
    labels, scores, patients = cohort()
    sizes = []
    inner = auroc_metric(labels, scores, patients).function
    metric = RankMetric(patients, lambda weights: (sizes.append(weights.size), inner(weights))[1])
    draws = np.random.default_rng(0).integers(0, 3, (50, 30))
    whole, influence = metric.values(draws), metric.influence()
    monkeypatch.setattr(module, "_CHUNK_VALUES", 7 * 60)
    sizes.clear()
    assert np.array_equal(metric.values(draws), whole)
    assert np.array_equal(metric.influence(), influence)
    assert len(sizes) == 8 + 5
    assert max(sizes) <= 7 * 60
