import numpy as np
import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.encode.features import EncodedImages
from retfm_dist.evaluate.predictions import predictions_path
from retfm_dist.evaluate.predictions_file import read_predictions
from retfm_dist.evaluate.run import run_evaluation
from tests.fakes.evaluation import (
    checked,
    evaluation,
)

FLOOR_ONLY = {"models": [{"kind": "handcrafted", "id": "floor"}]}


def test_all_protocols_of_a_task_share_images_patients_and_folds(finished):
    first, second = (
        read_predictions(predictions_path(finished / "out", model=m, task="bright", protocol=p))
        for m, p in (("tiny", "knn_5"), ("floor", "linear"))
    )
    for column in ("uids", "subject_ids", "labels", "folds"):
        assert np.array_equal(getattr(first, column), getattr(second, column))
    for patient in np.unique(first.subject_ids):
        assert (np.ptp(first.folds[:, first.subject_ids == patient], axis=1) == 0).all()


def test_neighbors_say_how_far_votes_are_returned(finished):
    shares = {
        name: read_predictions(
            predictions_path(finished / "out", model="tiny", task="bright", protocol=name)
        ).reciprocity
        for name in ("knn_5", "linear")
    }
    assert shares["linear"] == 1.0
    assert 0.1 < shares["knn_5"] < 0.95


def test_pseudonyms_are_drawn_anew_unless_a_salt_is_kept(copied):
    def names():
        path = predictions_path(copied / "out", model="floor", task="noise", protocol="linear")
        return read_predictions(path).subject_ids.tolist()

    run_evaluation(checked(evaluation(copied, **FLOOR_ONLY)))
    first, metrics = names(), (copied / "out" / "metrics.json").read_bytes()
    run_evaluation(checked(evaluation(copied, **FLOOR_ONLY)))
    assert names() != first
    assert (copied / "out" / "metrics.json").read_bytes() == metrics
    run_evaluation(checked(evaluation(copied, **FLOOR_ONLY, salt=str(copied / "salt"))))
    kept = names()
    run_evaluation(checked(evaluation(copied, **FLOOR_ONLY, salt=str(copied / "salt"))))
    assert names() == kept


def test_features_that_are_not_finite_are_an_error(copied, monkeypatch):
    real = EncodedImages.matrix
    monkeypatch.setattr(
        EncodedImages,
        "matrix",
        lambda self, model, digests: (
            real(self, model, digests) + (np.nan if model == "tiny" else 0)
        ),
    )
    with pytest.raises(EvaluateError, match="model tiny, task bright: features are not finite"):
        run_evaluation(checked(evaluation(copied)))
