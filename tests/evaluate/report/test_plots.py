from retfm_dist.evaluate.report.compute import compute_results
from retfm_dist.evaluate.report.plots import draw_figures
from tests.fakes.evaluation import checked, evaluation


def test_a_protocol_has_two_figures_and_of_two_classes_no_more(finished):
    config = checked(evaluation(finished))
    results = compute_results(finished / "out", config, ("knn_5", "linear"))
    figures = list(draw_figures(config.tasks[0], config, {"linear": "linear probe"}, results))
    assert [figure["title"] for figure in figures] == [
        "linear probe", "linear probe: precision and recall, calibration, net benefit",
    ]  # fmt: skip
    assert all("<svg" in f["svg"] and "bright-linear" in f["svg"] for f in figures)
