import json

import pytest

from retfm_dist.cohort.composition import describe_composition
from retfm_dist.cohort.records import ImageRecord
from retfm_dist.export.write import write_export
from tests.fakes.runs import FINGERPRINT, write_run


@pytest.fixture
def shard_dir(tmp_path):
    """What the card needs of a shard set: 24 patients, 12 and 12, and one more of a rare group."""
    records = [
        ImageRecord(
            row=i, image_path=f"{i}.jpg", patient_id=f"P{i}", sex="female" if i % 2 else "male"
        )
        for i in range(24)
    ]
    records.append(ImageRecord(row=24, image_path="24.jpg", patient_id="P24", sex="other"))
    directory = tmp_path / "shards"
    directory.mkdir()
    (directory / "manifest.json").write_text(json.dumps({"fingerprint": FINGERPRINT}))
    (directory / "cohort.json").write_text(json.dumps(describe_composition(records)))
    return directory


def card(tmp_path, shard_dir, **run):
    write_run(tmp_path / "run", shards=shard_dir, **run)
    return (write_export(tmp_path / "run", tmp_path / "out") / "README.md").read_text()


def test_the_card_describes_the_training_images_and_hides_small_groups(tmp_path, shard_dir):
    text = card(tmp_path, shard_dir)
    assert "25 images of 25 patients." in text
    # One patient is hidden, and so is a larger group: 25 - 12 - 12 would have told of her.
    assert "| sex | other | - | < 10 |" in text
    assert "| sex | female | - | - |" in text
    assert "| sex | male | 12 | 12 |" in text
    assert "ethnicity" not in text.split("## How to load it")[0]


def test_the_composition_of_another_shard_set_is_not_shown(tmp_path, shard_dir):
    (shard_dir / "manifest.json").write_text(json.dumps({"fingerprint": "00"}))
    assert "Not known: the shard set was not at hand" in card(tmp_path, shard_dir)


def test_the_card_states_architecture_recipe_and_loading(tmp_path):
    text = card(tmp_path, tmp_path / "gone")
    for fact in ("| blocks | 2 | 1 |", "| images seen | 384 |", "| global batch | 64 images |",
                 "| peak learning rate | 0.00025 (0.001 per 256 images)", "| started from | random weights |",
                 "local-dir:EXPORT_DIR", "weights_only=True", "load_encoder", "no medical device"):  # fmt: skip
        assert fact in text
    assert "{{" not in text


def test_the_card_names_the_weights_it_started_from(tmp_path):
    text = card(tmp_path, tmp_path / "gone", init_from="weights/mae_large.pth")
    assert "| started from | mae_large.pth |" in text
    assert "besides those behind the weights it started from" in text
