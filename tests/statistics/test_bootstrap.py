import numpy as np
import pytest

from retfm_dist.statistics.bootstrap import patient_resamples, patient_resamples_in_parts, seed_for


def test_patients_are_drawn_whole_within_their_class():
    labels, patients = np.repeat(np.arange(21) % 2, 2), np.repeat(np.arange(21), 2)
    draws = patient_resamples(labels, patients, num_resamples=50, seed=1)
    positive = np.arange(21) % 2 == 1
    assert draws.shape == (50, 21)
    assert (draws[:, positive].sum(axis=1) == 10).all()
    assert (draws[:, ~positive].sum(axis=1) == 11).all()
    assert draws.mean(axis=0) == pytest.approx(np.ones(21), abs=0.5)


def test_each_grade_keeps_its_number_of_patients():
    labels = np.arange(30) % 3
    draws = patient_resamples(labels, np.arange(30), num_resamples=20, seed=0)
    for grade in range(3):
        assert (draws[:, labels == grade].sum(axis=1) == 10).all()


def test_parts_are_as_many_resamples_as_asked_for_and_one_part_is_the_whole():
    labels, patients = np.arange(30) % 3, np.arange(30)

    def draw(part_size):
        return list(
            patient_resamples_in_parts(
                labels, patients, num_resamples=20, seed=0, part_size=part_size
            )
        )

    parts = draw(8)
    assert [len(part) for part in parts] == [8, 8, 4]
    assert all((part.sum(axis=1) == 30).all() for part in parts)
    assert not np.array_equal(parts[0], parts[1])
    (whole,) = draw(20)
    assert np.array_equal(whole, patient_resamples(labels, patients, num_resamples=20, seed=0))


def test_each_purpose_has_its_own_seed():
    seeds = {seed_for(0, "a", "auroc"), seed_for(0, "b", "auroc"), seed_for(1, "a", "auroc")}
    assert len(seeds) == 3
    assert seed_for(0, "a", "auroc") == seed_for(0, "a", "auroc")
