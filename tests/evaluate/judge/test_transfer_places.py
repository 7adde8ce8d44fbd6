from pathlib import Path

import numpy as np
import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.measure import score
from retfm_dist.evaluate.judge.transfer_cells import Cell, CellScore
from retfm_dist.evaluate.judge.transfer_places import compare_places, judge_own_site
from tests.fakes.predictions import fixed_predictions

SITES = {"a": "X", "b": "Y"}


def scored(model, test, *, task="dr", effect, seed, is_told=True):
    """A model on a test set whose name is its site's; all test sets hold the same patient ids."""
    item = fixed_predictions(seed, num_patients=100, effect=effect)
    cell = Cell(task, model, "X", test, Path("p"), *((SITES[model], test) if is_told else ()))
    return CellScore(cell, item, score(item, alpha=0.05, thresholds={}))


def study(advantage, *, tasks=("dr",), is_told=True):
    """Two models on the test sets of two sites; each is better on that of its own."""
    return [
        scored(
            model, test, task=task, seed=100 * number + 10 * ("XY".index(test)) + "ab".index(model),
            effect=0.8 + advantage * (SITES[model] == test), is_told=is_told,
        )
        for number, task in enumerate(tasks) for model in "ab" for test in "XY"
    ]  # fmt: skip


def own_site(advantage, margin=0.02, **options):
    deltas = compare_places(study(advantage, **options), margin=margin, alpha=0.05)
    return judge_own_site(deltas, margin=margin, alpha=0.05)


def test_a_planted_advantage_of_the_own_site_is_found_over_all_places():
    found = own_site(0.8)
    assert found.advantage.verdict == "superior"
    assert found.advantage.value == pytest.approx(
        np.mean([d.own_site * d.comparison.test.value for d in found.deltas])
    )
    assert own_site(-0.8).advantage.verdict == "inferior"
    assert own_site(0.0, margin=0.4).advantage.verdict == "equivalent"
    assert own_site(0.0).advantage.verdict == "inconclusive"
    assert (
        "the model of the test set's own site is better than the other"
        in (found.sentences(margin=0.02)[0])
    )


def test_places_of_one_test_set_share_patients_and_two_test_sets_do_not():
    found = own_site(0.8, tasks=("dr", "amd", "glaucoma"))
    assert (len(found.deltas), found.share.num_groups, found.share.value) == (6, 2, 1.0)
    assert (
        "16 to 100 % with 2 groups of them that share no patient"
        in (found.sentences(margin=0.02)[1])
    )
    deltas = compare_places(study(0.8, tasks=("dr", "amd")), margin=0.02, alpha=0.05)
    of_one = judge_own_site([d for d in deltas if d.cell.test == "X"], margin=0.02, alpha=0.05)
    assert of_one.share.low is None
    assert "no interval, for all of them share patients" in of_one.sentences(margin=0.02)[1]


def test_a_draw_favors_nobody():
    same = study(0.0)
    same[2] = CellScore(same[2].cell, mirrored(same[0].predictions), same[2].scored)
    drawn = compare_places(same, margin=0.02, alpha=0.05)[0]
    assert drawn.comparison.test.value == 0
    assert (drawn.own_site, drawn.favors_own_site) == (1, False)


def mirrored(item):
    """The same order of images at other probabilities."""
    positive = item.probabilities[..., 1:] ** 2
    return type(item)(
        **{**vars(item), "probabilities": np.concatenate([1 - positive, positive], -1)}
    )


def test_where_sites_are_not_told_nothing_is_said_of_them():
    assert own_site(0.8, is_told=False) is None


def test_one_model_under_two_names_is_refused():
    cells = study(0.0)
    cells[2] = CellScore(cells[2].cell, cells[0].predictions, cells[2].scored)
    with pytest.raises(EvaluateError, match="hold the same predictions"):
        compare_places(cells, margin=0.02, alpha=0.05)
