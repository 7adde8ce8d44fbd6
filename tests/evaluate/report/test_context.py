import json

from retfm_dist.evaluate.report.compute import compare_with_first, compute_results
from retfm_dist.evaluate.report.context import make_context
from tests.fakes.evaluation import checked, evaluation

NAMES = ("environment", "models", "overlap", "samples")


def test_rows_pairs_and_figures_are_those_of_the_task(finished):
    out = finished / "out"
    config = checked(evaluation(finished, report={"author": "A. Reader"}))
    titles = {"knn_5": "kNN, k = 5", "linear": "linear probe"}
    results = compute_results(out, config, tuple(titles))
    pairs = compare_with_first(results, config)
    facts = {name: json.loads((out / f"{name}.json").read_text()) for name in NAMES}
    context = make_context(out, config, facts, titles, results, pairs)
    assert [task["id"] for task in context["tasks"]] == ["bright", "noise"]
    for task in context["tasks"]:
        assert task["primary"] == "AUROC"
        assert len(task["rows"]) == 6
        assert len(task["pairs"]) == 4
        assert len(task["figures"]) == 4
        assert task["points"] == []
    assert {row["model"] for row in context["tasks"][0]["rows"]} == {"tiny", "start", "floor"}
    assert context["coverage"] == "95 %"
    assert len(context["sentences"]) >= 1
