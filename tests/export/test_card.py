import json
import re
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from retfm_dist.cohort.composition import describe_composition
from retfm_dist.cohort.records import ImageRecord
from retfm_dist.export.write import write_export
from tests.fakes.runs import FINGERPRINT, write_run


@pytest.fixture
def cohort():
    """What the card needs of a shard set: 24 patients, 12 and 12, and one more of a rare group."""
    records = [
        ImageRecord(
            row=i, image_path=f"{i}.jpg", patient_id=f"P{i}", sex="female" if i % 2 else "male"
        )
        for i in range(24)
    ]
    records.append(ImageRecord(row=24, image_path="24.jpg", patient_id="P24", sex="other"))
    return {"dataset_fingerprint": FINGERPRINT, "composition": describe_composition(records)}


def card(tmp_path, cohort=None, **run):
    write_run(tmp_path / "run", **run)
    if cohort is not None:
        (tmp_path / "run" / "cohort.json").write_text(json.dumps(cohort))
    return (write_export(tmp_path / "run", tmp_path / "out") / "README.md").read_text()


def test_the_card_describes_the_training_images_and_hides_small_groups(tmp_path, cohort):
    text = card(tmp_path, cohort)
    assert "25 images of 25 patients." in text
    # One patient is hidden, and so is a larger group: 25 - 12 - 12 would have told of her.
    assert "| sex | other | - | - |" in text
    assert "| sex | female | - | - |" in text
    assert "| sex | male | 12 | 12 |" in text
    assert "ethnicity" not in text.split("## How to load it")[0]


def test_mixed_sets_are_described_one_by_one_with_their_shares(tmp_path, cohort):
    sets = [
        {"share": 0.25, "composition": cohort["composition"]},
        {"share": 0.75, "composition": None},
    ]
    text = card(tmp_path, {"dataset_fingerprint": FINGERPRINT, "sets": sets})
    part = text.split("## Training images")[1].split("## How to load it")[0]
    first, second = part.split("### Set 2: 75% of the images seen\n\n")
    assert first.startswith("\n\n### Set 1: 25% of the images seen\n\n25 images of 25 patients.\n")
    assert "| sex | male | 12 | 12 |" in first
    assert second == "Not known: the set has no composition tables.\n\n"


def test_the_composition_of_another_shard_set_is_not_shown(tmp_path, cohort):
    cohort["dataset_fingerprint"] = "00"
    assert "Not known: the run did not note" in card(tmp_path, cohort)


def test_the_card_states_architecture_recipe_and_loading(tmp_path):
    text = card(tmp_path)
    for fact in ("| blocks | 2 | 1 |", "| images seen | 384 |", "| global batch | 64 images |",
                 "| peak learning rate | 0.00025 (0.001 per 256 images)", "| started from | random weights |",
                 "local-dir:EXPORT_DIR", "weights_only=True", "load_encoder", "not a medical device"):  # fmt: skip
        assert fact in text
    assert "{{" not in text


def test_the_card_says_what_was_changed_and_passed_over_in_the_course_of_the_run(tmp_path):
    change = {"step": 2000, "field": "optimizer.base_lr", "from": 0.001, "to": 0.0005}
    text = card(tmp_path, state={"overrides": [change], "rolled_back": [[1180, 1203]]})
    assert "| changed at step 2,000 | `optimizer.base_lr` from 0.001 to 0.0005 |" in text
    assert "| passed over | steps 1,180 to 1,203, after losses" in text
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert provenance["overrides"] == [change]
    assert provenance["rolled_back"] == [[1180, 1203]]


def test_the_card_names_the_weights_it_started_from(tmp_path):
    text = card(tmp_path, init_from="weights/mae_large.pth")
    assert "| started from | mae_large.pth |" in text
    assert "besides those behind the weights it started from" in text


def snippets_of(card):
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def test_every_snippet_runs_and_all_give_the_same_features(tmp_path):
    """One after the other in one namespace, as a reader would paste them."""
    text = card(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    names = {"cropped_photograph": Image.fromarray(pixels)}
    features = []
    snippets = snippets_of(text)
    assert len(snippets) == 4
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # what transformers says of its own future
        for snippet in snippets:
            exec(snippet.replace("EXPORT_DIR", str(tmp_path / "out")), names)
            if "features" in snippet:
                features.append(names["features"])
        batch = names["transform"](names["cropped_photograph"])[None]
        features.append(names["loaded"].model(batch))
    assert [value.shape for value in features] == [(1, 24)] * 3
    assert torch.equal(features[0], features[1]), "timm and transformers"
    assert torch.equal(features[0], features[2]), "timm and load_encoder"
    assert torch.equal(names["state"]["norm.weight"], names["loaded"].model.norm.weight)


def test_the_card_tells_which_code_takes_the_file(tmp_path):
    text = " ".join(card(tmp_path).split())
    assert "RETFound's of 2023 and 2024 (timm 0.3.2), take the file" in text
    assert "of 2025 and later takes a name on Hugging Face Hub" in text
