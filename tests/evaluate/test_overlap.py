import json

import numpy as np
import pytest

from retfm_dist.cohort.membership import make_membership, write_membership
from retfm_dist.cohort.pseudonym import assign_pseudonyms, make_salt_id
from retfm_dist.cohort.salt import make_salt
from retfm_dist.durable import sha256_file
from retfm_dist.evaluate.predictions import predictions_path, uid_of
from retfm_dist.evaluate.predictions_file import read_predictions
from retfm_dist.evaluate.run import run_evaluation
from retfm_dist.image.encode import difference_hash
from retfm_dist.image.square import read_square
from tests.fakes.evaluation import checked, draw_clouds, evaluation, read_table

MODELS = [
    {"kind": "export", "id": "tiny", "path": "export"},
    {"kind": "handcrafted", "id": "floor"},
]


def pretrain_on(root, salt_path, *, files=(), looks=(), patients=()):
    """Write a membership into the export: some images of the archive, looks and patients."""
    salt = make_salt(salt_path)
    names = assign_pseudonyms(set(patients), salt)
    pictures = [read_square((root / name).read_bytes()).image for name in looks]
    write_membership(
        root / "export" / "membership.npz",
        make_membership(
            fingerprint="f0",
            salt_id=make_salt_id(salt),
            uids=[uid_of(sha256_file(root / name)) for name in files],
            subject_ids=names.values(),
            hashes=[difference_hash(picture) for picture in pictures],
        ),
    )


def evaluate(root, salt_path):
    models = [{**MODELS[0], "path": str(root / "export")}, MODELS[1]]
    salt = {} if salt_path is None else {"salt": str(salt_path)}
    protocols = {"knn": {"k": [5], "temperature": 0.07}, "linear": None}
    config = checked(evaluation(root, models=models, protocols=protocols, repeats=5, **salt))
    run_evaluation(config)
    facts = json.loads((root / "out" / "overlap.json").read_text())
    path = predictions_path(root / "out", model="tiny", task="bright", protocol="knn_5")
    found = read_predictions(path).attributes.get("in_pretraining")
    return {(f["model"], f["task"]): f for f in facts}, found


def test_the_same_file_a_copy_and_the_other_eye_are_found(copied, tmp_path):
    table = read_table(copied / "table.csv")
    same, original, other_eye = table[0], table[4], table[8]
    # The model was pre-trained on a re-encoding of the second image: other bytes, same look.
    picture = draw_clouds()
    picture.save(copied / original[0])
    picture.resize((300, 300)).save(copied / "copy.jpg", quality=70)
    pretrain_on(
        copied, tmp_path / "salt", files=[same[0]], looks=["copy.jpg"], patients=[other_eye[1]]
    )
    facts, found = evaluate(copied, tmp_path / "salt")
    assert found[0] == "image"
    assert found[4] == "copy"
    assert (found[8], found[9]) == ("patient", "patient")
    assert [kind for kind in found if kind is not None].count("copy") <= 3  # discs look alike
    fact = facts["tiny", "bright"]
    assert (fact["image"], fact["patient"], fact["patients"]) == (1, 2, "compared")
    assert facts["floor", "bright"]["provenance"] == "none: not pre-trained"
    page = (copied / "out" / "report.html").read_text()
    assert 'class="warning">tiny was pre-trained on images of' in page
    assert "(1 the same file, " in page
    metrics = json.loads((copied / "out" / "metrics.json").read_text())
    unseen = metrics["results"][0]["primary_unseen"]
    assert unseen["n_images"] == sum(kind is None for kind in found)


@pytest.mark.parametrize("kind", ["no salt", "another salt"])
def test_patients_under_another_salt_are_not_called_new(copied, tmp_path, kind):
    pretrain_on(copied, tmp_path / "salt", patients=[read_table(copied / "table.csv")[0][1]])
    facts, found = evaluate(copied, None if kind == "no salt" else tmp_path / "salt2")
    assert found is None or all(value is None for value in found)
    text = facts["tiny", "bright"]["patients"]
    assert text.startswith("not compared: ")
    assert ("has no salt" if kind == "no salt" else "this evaluation's is") in text
    assert "tiny: patients not compared" in (copied / "out" / "report.html").read_text()


def test_a_model_without_a_membership_is_unknown_not_clean(copied):
    facts, found = evaluate(copied, None)
    assert facts["tiny", "bright"]["provenance"] == "unknown"
    assert found is None or np.all([value is None for value in found])
    assert "What tiny was pre-trained on is unknown" in (copied / "out" / "report.html").read_text()
