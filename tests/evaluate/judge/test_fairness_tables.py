import numpy as np

from retfm_dist.evaluate.judge.disclosure import Precision
from retfm_dist.evaluate.judge.fairness import compare_group_gaps
from retfm_dist.evaluate.judge.fairness_tables import difference_json, difference_table
from tests.evaluate.judge.test_disclosure import cohort, judged


def gaps(item):
    other = np.random.default_rng(9).permutation(len(item.labels))
    b = type(item)(**{**vars(item), "probabilities": item.probabilities[:, other]})
    found = judged(item)
    return compare_group_gaps(item, b, found, margin=0.02, alpha=0.05)


def test_the_comparison_of_two_models_tells_no_size_of_a_group():
    gap = gaps(cohort(0))
    body = difference_json(gap, 0.04, Precision(2, 2))
    assert body["p_holm"] == 0.04
    for group in body["by_group"].values():
        assert not any(key.startswith("n_") for key in group)
        assert group["a"] == round(group["a"], 2)
        assert group["p"] == round(group["p"], 3)
    assert body["difference_of_gaps"] == round(gap.gap_a - gap.gap_b, 2)


def test_the_table_of_two_models_follows_the_precision_of_its_attribute():
    gap = gaps(cohort(0))
    coarse, fine = (
        difference_table([gap], [0.04], {gap.name: precision})
        for precision in (Precision(2, 2), Precision())
    )
    assert coarse.rows[0][2] == f"{next(iter(gap.by_group.values())).value_a:.2f}"
    assert fine.rows[0][2] == f"{next(iter(gap.by_group.values())).value_a:.3f}"
    assert len(coarse.rows) == len(gap.by_group)
