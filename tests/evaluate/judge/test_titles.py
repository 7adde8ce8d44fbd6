import pytest

from retfm_dist.evaluate.judge.measure import score
from retfm_dist.evaluate.judge.splits import TARGETS
from retfm_dist.evaluate.judge.titles import metric_title
from tests.fakes.predictions import fixed_predictions


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("auroc", "AUROC"),
        ("auroc_2", "AUROC of class 2"),
        ("balanced_accuracy", "balanced accuracy"),
        ("f1", "F1"),
        ("kappa_quadratic", "quadratic kappa"),
        ("specificity_at_sens90", "specificity at the threshold of 90 % sensitivity"),
    ],
)
def test_people_read_words(name, title):
    assert metric_title(name) == title


def test_every_metric_has_a_title_of_its_own():
    thresholds = dict.fromkeys(TARGETS, 0.5)
    scored = score(fixed_predictions(), alpha=0.05, thresholds=thresholds)
    titles = {metric_title(name) for name in scored}
    assert len(titles) == len(scored)
    assert not any("_" in title for title in titles)
