import pytest

from retfm_dist.evaluate.judge.compare import Comparison
from retfm_dist.evaluate.report.compute import PairResult
from retfm_dist.evaluate.report.sentences import summarize
from retfm_dist.statistics.intervals import Interval
from retfm_dist.statistics.paired import PairedTest
from tests.fakes.evaluation import checked, evaluation


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        ("superior", "a is better than b (difference of AUROC +0.100, +0.050 to +0.150)"),
        ("inferior", "a is worse than b"),
        ("equivalent", "a and b are equivalent within 0.02"),
        ("inconclusive", "no difference between a and b is shown, nor is there none"),
        ("insufficient", "cannot be compared: too few patients"),
    ],
)
def test_a_sentence_says_no_more_than_the_test(tmp_path, verdict, text):
    test = PairedTest(0.1, Interval(0.05, 0.15), 0.01, 0.9, verdict)
    pair = PairResult(
        "a", "b", "bright", "linear", Comparison("auroc", 0, 0, None, test, 1, 1, 1), 0.01, 0.05
    )
    config = checked(evaluation(tmp_path))
    sentence = summarize([pair], config, {"linear": "linear probe"})[0]
    assert sentence.startswith("Is it bright?, linear probe: ")
    assert text in sentence
