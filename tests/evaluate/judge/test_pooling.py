import dataclasses

import numpy as np
import pytest

from retfm_dist.evaluate.judge.compare import compare_metrics
from retfm_dist.evaluate.judge.pooling import pool_sets
from retfm_dist.statistics.meta import pool_effects
from tests.fakes.predictions import fixed_predictions


def compared(seed, *, cohort=0, effect=0.0, num_patients=100):
    """One test set; sets of one cohort hold the same patients."""
    a, b = (
        named(fixed_predictions(2 * seed + model, num_patients=num_patients, effect=1.0 + e), cohort)
        for model, e in enumerate((effect, 0.0))
    )  # fmt: skip
    return compare_metrics(a, b, margin=0.02, alpha=0.05)["auroc"], a


def named(item, cohort):
    uids, subjects = (np.array([f"{cohort}-{n}" for n in v]) for v in (item.uids, item.subject_ids))
    return dataclasses.replace(item, uids=uids, subject_ids=subjects)


def pooled(sets):
    return pool_sets(sets, margin=0.02, alpha=0.05)


def test_sets_that_share_no_patient_are_a_meta_analysis():
    sets = [compared(k, cohort=k, effect=0.5) for k in range(4)]
    found = pooled(sets)
    effects, variances = (
        np.array([getattr(c.difference, name) for c, _ in sets]) for name in ("value", "variance")
    )
    expected = pool_effects(effects, variances, alpha=0.05)
    assert vars(found) == {"num_sets": 4, **vars(expected)}
    assert found.as_json()["shares_patients"] is False
    assert "share no patient" in found.table().note


def test_one_set_told_twice_tells_no_more():
    once = compared(0, effect=0.5)
    found = pooled([once, once, once])
    assert found.value == pytest.approx(once[0].test.value)
    assert (found.low, found.high) == pytest.approx(
        (once[0].test.interval.low, once[0].test.interval.high)
    )
    assert found.as_json()["shares_patients"] is True
    assert found.tau2 is None
    assert "They share patients" in found.table().note
    assert "Over 3 test sets" in found.sentence()


def test_tasks_of_the_same_patients_are_not_independent_sets():
    own = [compared(0, effect=0.3)[0].difference, compared(1, effect=0.3)[0].difference]
    both = pooled([compared(0, effect=0.3), compared(1, effect=0.3)])
    apart = (own[0].influence + own[1].influence) / 2
    error = (both.high - both.low) / 2
    assert error == pytest.approx(1.97 * np.sqrt((apart**2).sum()), rel=0.02)


def test_sets_without_a_test_do_not_count():
    small = compared(1, cohort=1, num_patients=12)
    assert small[0].test.p is None
    assert pooled([compared(0), small]) is None
    assert pooled([compared(0), small, compared(2, cohort=2)]).num_sets == 2
    assert pooled([compared(0)]) is None
