import numpy as np
import pytest
from scipy.stats import norm

from retfm_dist.statistics import bootstrap
from retfm_dist.statistics.bootstrap import (
    PatientCounts,
    bootstrap_auroc,
    code_patients,
    count_patients,
    patient_resamples,
    percentile_interval,
    seed_for,
)

ENOUGH = PatientCounts(positive=50, negative=50)


def two_eyed(rng, *, num_patients, effect):
    """Scores of two eyes per patient, which share most of their deviation."""
    labels = np.repeat(np.arange(num_patients) % 2, 2)
    patients = np.repeat(np.arange(num_patients), 2)
    shared = np.repeat(rng.normal(0, 0.9, num_patients), 2)
    scores = effect * labels + shared + rng.normal(0, np.sqrt(1 - 0.81), 2 * num_patients)
    return labels, scores, patients


def interval(labels, scores, patients, *, seed=0, num_resamples=200):
    draws = patient_resamples(labels, patients, num_resamples=num_resamples, seed=seed)
    values = bootstrap_auroc(labels, scores, patients, draws)
    return percentile_interval(values, count_patients(labels, patients), alpha=0.05)


def test_intervals_of_clustered_data_cover_the_truth():
    """150 simulated cohorts; naive image-level intervals would cover about 0.83 of the time."""
    effect = 1.0
    truth = norm.cdf(effect / np.sqrt(2))
    covered = 0
    for seed in range(150):
        data = two_eyed(np.random.default_rng(seed), num_patients=60, effect=effect)
        found = interval(*data, seed=seed)
        covered += found.low <= truth <= found.high
    assert 0.88 <= covered / 150 <= 0.99


def test_two_eyes_of_a_patient_widen_the_interval():
    labels, scores, patients = two_eyed(np.random.default_rng(0), num_patients=60, effect=1.0)
    by_patient = interval(labels, scores, patients, num_resamples=1000)
    by_image = interval(labels, scores, np.arange(len(labels)), num_resamples=1000)
    assert by_patient.high - by_patient.low > 1.15 * (by_image.high - by_image.low)


def test_patients_are_drawn_whole_within_their_class():
    labels, _, patients = two_eyed(np.random.default_rng(0), num_patients=21, effect=1.0)
    draws = patient_resamples(labels, patients, num_resamples=50, seed=1)
    positive = np.arange(21) % 2 == 1
    assert draws.shape == (50, 21)
    assert (draws[:, positive].sum(axis=1) == 10).all()
    assert (draws[:, ~positive].sum(axis=1) == 11).all()
    assert draws.mean(axis=0) == pytest.approx(np.ones(21), abs=0.5)


def test_a_patient_with_one_positive_eye_is_positive():
    labels, patients = np.array([0, 1, 0, 0]), np.array([0, 0, 1, 1])
    assert count_patients(labels, patients) == PatientCounts(positive=1, negative=1)


def test_chunks_do_not_change_the_values(monkeypatch):
    labels, scores, patients = two_eyed(np.random.default_rng(0), num_patients=20, effect=1.0)
    draws = patient_resamples(labels, patients, num_resamples=50, seed=1)
    whole = bootstrap_auroc(labels, scores, patients, draws)
    monkeypatch.setattr("retfm_dist.statistics.bootstrap._CHUNK_VALUES", 120)
    assert np.array_equal(bootstrap_auroc(labels, scores, patients, draws), whole)


def test_degenerate_resamples_are_counted():
    """The only negative images belong to two positive patients; a resample may miss both."""
    labels = np.array([1] * 10 + [0] * 2)
    patients = np.r_[np.arange(10), 0, 1]
    draws = patient_resamples(labels, patients, num_resamples=500, seed=0)
    values = bootstrap_auroc(labels, np.linspace(0, 1, 12), patients, draws)
    missed = (draws[:, :2] == 0).all(axis=1)
    assert np.array_equal(np.isnan(values), missed)
    found = percentile_interval(values, ENOUGH, alpha=0.05)
    assert found.num_degenerate == missed.sum()
    assert found.low is None
    assert f"{missed.sum()} of 500 resamples lack one class" in found.note


def test_too_few_patients_get_no_interval():
    values = np.linspace(0, 1, 100)
    assert percentile_interval(values, PatientCounts(10, 10), alpha=0.1).low == pytest.approx(0.05)
    for counts in (PatientCounts(9, 50), PatientCounts(50, 9)):
        found = percentile_interval(values, counts, alpha=0.05)
        assert (found.low, found.high) == (None, None)
        assert found.note.startswith("insufficient: ")


def test_a_few_degenerate_resamples_are_tolerated():
    values = np.r_[np.full(5, np.nan), np.linspace(0, 1, 95)]
    found = percentile_interval(values, ENOUGH, alpha=0.05)
    assert (found.num_degenerate, found.note) == (5, "")


def test_codes_follow_first_appearance_not_names():
    assert code_patients(np.array(["z", "a", "z", "m"])).tolist() == [0, 1, 0, 2]


def test_each_purpose_has_its_own_seed():
    seeds = {seed_for(0, "a", "auroc"), seed_for(0, "b", "auroc"), seed_for(1, "a", "auroc")}
    assert len(seeds) == 3
    assert seed_for(0, "a", "auroc") == seed_for(0, "a", "auroc")


@pytest.mark.parametrize("compute", ["auroc", "sensitivity"])
def test_resamples_are_weighed_a_few_at_a_time(monkeypatch, compute):
    """The weights of all images in all resamples would fill the memory of a large data set."""
    rng = np.random.default_rng(0)
    labels, scores = np.tile([0, 1], 30), rng.normal(size=60)
    patients = np.repeat(np.arange(30), 2)
    draws = bootstrap.patient_resamples(labels, patients, num_resamples=50, seed=0)

    def run():
        if compute == "auroc":
            return bootstrap.bootstrap_auroc(labels, scores, patients, draws)
        return bootstrap.bootstrap_sensitivity(
            labels, scores, patients, draws, false_positive_rates=np.linspace(0, 1, 5)
        )

    whole = run()
    sizes = []
    name = "weighted_auroc" if compute == "auroc" else "sensitivity_at"
    original = getattr(bootstrap, name)
    monkeypatch.setattr(
        bootstrap,
        name,
        lambda a, b, weights, *c: (sizes.append(weights.size), original(a, b, weights, *c))[1],
    )
    monkeypatch.setattr(bootstrap, "_CHUNK_VALUES", 7 * 60)
    assert np.array_equal(run(), whole)
    assert len(sizes) == 8
    assert max(sizes) <= 7 * 60
