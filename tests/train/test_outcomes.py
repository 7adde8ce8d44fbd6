import torch

from retfm_dist.train.outcomes import Outcomes
from retfm_dist.train.step import StepResult


def result(losses, *, is_updated=True):
    losses = torch.tensor(losses)
    return StepResult(losses[0], losses, torch.isfinite(losses), torch.tensor(is_updated))


def test_outcomes_are_taken_in_order_and_once():
    outcomes = Outcomes()
    uids = [torch.tensor([7, 8])]
    outcomes.add(3, result([0.5, 0.25]), limit=9.0, uids=uids)
    outcomes.add(4, result([0.5, float("inf")], is_updated=False), limit=8.0, uids=uids)
    outcomes.add(6, result([1.0, 2.0]), limit=7.0, uids=uids)
    assert list(outcomes.take(before=3)) == []
    first, second = outcomes.take(before=6)
    assert (first.step, first.losses, first.is_updated, first.limit) == (3, (0.5, 0.25), True, 9.0)
    assert (second.step, second.losses, second.is_updated) == (4, (0.5, float("inf")), False)
    assert (first.is_finite, second.is_finite) == ((True, True), (True, False))
    assert second.uids == tuple(uids)
    assert [outcome.step for outcome in outcomes.take(before=99)] == [6]
    assert list(outcomes.take(before=99)) == []


def test_what_is_not_asked_for_any_more_stays():
    outcomes = Outcomes()
    for step in range(3):
        outcomes.add(step, result([1.0]), limit=1.0, uids=())
    next(outcomes.take(before=3))
    assert [outcome.step for outcome in outcomes.take(before=3)] == [1, 2]
