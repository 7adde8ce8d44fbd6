import json

import numpy as np
import pytest

from retfm_dist.evaluate.lookalikes import link_patients
from retfm_dist.evaluate.predictions import predictions_path
from retfm_dist.evaluate.predictions_file import read_predictions
from retfm_dist.evaluate.run import run_evaluation
from tests.fakes.evaluation import checked, draw_clouds, evaluation, read_table

FLOOR_ONLY = {"models": [{"kind": "handcrafted", "id": "floor"}]}


def test_patients_are_linked_through_any_chain_of_pairs():
    patients = np.array([0, 0, 1, 2, 3, 4, 4])
    pairs = np.array([[1, 2], [2, 3], [5, 6]])
    linked = link_patients(patients, pairs)
    assert len(set(linked[:4])) == 1
    assert len(set(linked)) == 3
    assert np.array_equal(np.unique(link_patients(patients, pairs[:0])), np.arange(5))


@pytest.fixture
def with_copies(copied):
    """Re-encoded copies of three images, each under the number of another patient."""
    rows = read_table(copied / "table.csv")
    for source, target in ((0, 8), (4, 12), (16, 20)):
        picture = draw_clouds(source)
        picture.save(copied / rows[source][0])
        picture.resize((300, 300)).save(copied / rows[target][0], format="JPEG", quality=70)
    return copied


def test_copies_under_other_patients_are_seen_and_stay_in_one_fold(with_copies):
    run_evaluation(checked(evaluation(with_copies, **FLOOR_ONLY)))
    task = json.loads((with_copies / "out" / "samples.json").read_text())[0]
    assert task["alike"] == {"within_patients": 0, "across_patients": 6, "across_sets": 0}
    path = predictions_path(with_copies / "out", model="floor", task="bright", protocol="knn_5")
    folds = read_predictions(path).folds
    for source, target in ((0, 8), (4, 12), (16, 20)):
        assert np.array_equal(folds[:, source], folds[:, target])
    page = (with_copies / "out" / "report.html").read_text()
    assert (
        'class="warning">6 images of &#39;Is it bright?&#39; look like an image of another' in page
    )


def test_a_copy_of_a_train_image_in_the_test_set_is_said_in_red(with_copies):
    lines = (with_copies / "table.csv").read_text().splitlines()
    sets = ["train" if i // 2 % 7 < 4 else "test" for i in range(len(lines) - 1)]
    lines = [lines[0] + ",part"] + [f"{a},{b}" for a, b in zip(lines[1:], sets, strict=True)]
    (with_copies / "table.csv").write_text("\n".join(lines) + "\n")
    values = evaluation(with_copies, **FLOOR_ONLY)
    for task in values["tasks"]:
        task["split"] = {"column": "part"}
    run_evaluation(checked(values))
    task = json.loads((with_copies / "out" / "samples.json").read_text())[0]
    crossing = sum(sets[a] != sets[b] for a, b in ((0, 8), (4, 12), (16, 20)))
    assert task["alike"]["across_sets"] == crossing > 0
    page = (with_copies / "out" / "report.html").read_text()
    assert f'class="warning">{crossing} validation or test images of' in page
