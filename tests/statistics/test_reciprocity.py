import numpy as np
import pytest

from retfm_dist.statistics.reciprocity import reciprocity


def test_effects_that_are_returned_count_fully_and_one_sided_ones_not_at_all():
    forth, back = np.array([0, 1, 2]), np.array([1, 2, 0])
    both = np.concatenate([forth, back]), np.concatenate([back, forth])
    assert reciprocity(*both, np.ones(6)) == 1.0
    assert reciprocity(forth, back, np.ones(3)) == 0.0
    assert reciprocity(forth, back, np.zeros(3)) == 1.0


def test_it_equals_the_formula_on_matrices_whose_pairs_occur_in_parts():
    generator = np.random.default_rng(0)
    judged, trained = generator.integers(0, 12, (2, 400))
    weights = generator.random(400)
    matrix = np.zeros((12, 12))
    np.add.at(matrix, (judged, trained), weights)
    expected = (matrix * matrix.T).sum() / (matrix**2).sum()
    assert reciprocity(judged, trained, weights) == pytest.approx(expected, abs=1e-12)


def test_it_finds_how_often_links_are_returned():
    generator = np.random.default_rng(1)
    judged, trained = np.triu_indices(300, 1)
    kept = generator.random(len(judged)) < 0.5
    returned = kept & (generator.random(len(judged)) < 0.6)
    found = reciprocity(
        np.concatenate([judged[kept], trained[returned]]),
        np.concatenate([trained[kept], judged[returned]]),
        np.ones(int(kept.sum() + returned.sum())),
    )
    assert found == pytest.approx(2 * 0.6 / 1.6, abs=0.01)
