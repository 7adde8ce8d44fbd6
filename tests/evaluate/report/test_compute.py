import json

import pytest

from retfm_dist.evaluate.report.compute import PairResult, compare_with_first, compute_results
from tests.fakes.evaluation import checked, evaluation


def test_every_other_model_is_compared_with_the_first(finished):
    config = checked(evaluation(finished))
    results = compute_results(finished / "out", config, ("knn_5", "linear"))
    pairs = compare_with_first(results, config)
    loose = checked(evaluation(finished, bootstrap={"num_resamples": 200, "alpha": 0.2}))
    assert {pair.alpha for pair in compare_with_first(results, loose)} == {0.2}
    assert len(pairs) == 2 * 2 * 2
    assert {(pair.model_a, pair.model_b) for pair in pairs} == {
        ("tiny", "start"),
        ("tiny", "floor"),
    }
    for pair in pairs:
        assert pair.p_holm >= pair.comparison.test.p
        assert pair.verdict in {"superior", "equivalent", "inferior", "inconclusive"}
    stored = json.loads((finished / "out" / "metrics.json").read_text())
    assert stored["schema"] == "retfm-metrics/3"
    assert [c["verdict"] for c in stored["comparisons"]] == [pair.verdict for pair in pairs]


def test_a_difference_that_does_not_outlast_the_number_of_comparisons_is_inconclusive(finished):
    config = checked(evaluation(finished))
    results = compute_results(finished / "out", config, ("linear",))
    base = compare_with_first(results, config)[0].comparison
    test = type(base.test)(0.1, base.test.interval, 0.01, 0.9, "superior")
    comparison = type(base)("auroc", 0.8, 0.7, base.difference, test, 10, 10, 10)
    kept, lost = (PairResult("a", "b", "t", "p", comparison, p, 0.05) for p in (0.04, 0.06))
    assert (kept.verdict, lost.verdict) == ("superior", "inconclusive")
    assert pytest.approx(0.1) == kept.comparison.test.value
