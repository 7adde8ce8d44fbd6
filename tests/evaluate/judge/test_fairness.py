import numpy as np
import pytest

from retfm_dist.evaluate.judge.fairness import FairnessOptions, compare_group_gaps, judge_groups
from retfm_dist.evaluate.judge.groups import find_groupings
from retfm_dist.evaluate.predictions import Predictions

OPTIONS = FairnessOptions(alpha=0.05, num_permutations=199, seed=0)


def cohort(seed, *, effects=(1.5, 1.5), sizes=(100, 100), **changes):
    """One model on two sexes, with its own effect on each."""
    rng = np.random.default_rng(seed)
    sex = np.repeat(["F", "M"], sizes)
    labels = np.arange(len(sex)) % 2
    score = rng.normal(labels * np.where(sex == "F", *effects))
    p = 1 / (1 + np.exp(-score))
    values = {
        "model": "m", "task": "", "protocol": "",
        "uids": np.arange(len(sex)).astype(str), "subject_ids": np.arange(len(sex)).astype(str),
        "labels": labels, "probabilities": np.stack([1 - p, p], axis=-1)[None],
        "attributes": {"sex": sex.astype(object)}, **changes,
    }  # fmt: skip
    return Predictions(**values)


def judged(item, thresholds=None, strata=None):
    return judge_groups(
        item, find_groupings(item, ["sex"], [])[0], thresholds or {}, OPTIONS, strata
    )


def test_a_planted_gap_is_found_and_an_absent_one_is_not():
    planted = [judged(cohort(seed, effects=(2.5, 0.5))) for seed in range(10)]
    assert np.mean([item.gap.p <= 0.05 for item in planted]) == 1.0
    assert planted[0].worst == "M"
    absent = [judged(cohort(seed)) for seed in range(60)]
    assert np.mean([item.gap.p <= 0.05 for item in absent]) <= 0.15  # standard error 0.028
    assert abs(np.mean([item.gap.excess for item in absent])) < 0.01
    assert 0 < planted[0].es_auc < 1


def test_small_groups_are_withheld_and_leave_no_gap():
    found = judged(cohort(0, sizes=(100, 18)))
    assert [group.is_judged for group in found.groups] == [True, False]
    assert (found.gap, found.odds, found.es_auc) == (None, None, None)
    assert found.groups[1].scored == {}


def test_decisions_are_compared_at_the_threshold_from_validation_only():
    found = judged(cohort(0, effects=(2.5, 0.5)), thresholds={"spec90": 0.75})
    assert found.odds.low <= found.odds.value <= found.odds.high
    group = found.groups[0]
    rates = [g.scored["sensitivity_at_spec90"].value for g in found.groups]
    falses = [1 - g.scored["specificity_at_spec90"].value for g in found.groups]
    assert found.odds.value == pytest.approx(max(abs(np.diff(rates)[0]), abs(np.diff(falses)[0])))
    assert group.scored["sensitivity_at_spec90"].interval.low is not None
    assert judged(cohort(0)).odds is None


def test_equal_gaps_of_two_models_are_not_called_different_and_planted_ones_are():
    def p_of(seed, effects):
        a, b = cohort(seed, effects=(2.0, 1.0)), cohort(1000 + seed, effects=effects)
        return compare_group_gaps(a, b, judged(a), margin=0.02, alpha=0.05).heterogeneity.p

    same = [p_of(seed, (2.0, 1.0)) for seed in range(100)]
    assert np.mean(np.array(same) <= 0.05) <= 0.11  # standard error 0.022
    other = [p_of(seed, (0.5, 2.0)) for seed in range(10)]
    assert np.mean(np.array(other) <= 0.05) >= 0.9
    few = cohort(0, sizes=(100, 18))
    assert compare_group_gaps(few, few, judged(few), margin=0.02, alpha=0.05) is None
