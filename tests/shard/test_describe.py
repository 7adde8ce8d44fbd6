"""Describing and previewing a set."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from retfm_dist.errors import ShardError
from retfm_dist.shard.describe import SheetOptions, describe_shards, write_contact_sheet
from retfm_dist.shard.manifest import read_manifest


def test_description_holds_totals_parameters_and_composition(shard_set):
    facts = json.loads(json.dumps(describe_shards(shard_set)))
    manifest = read_manifest(shard_set)
    assert facts["num_samples"] == 12
    assert facts["num_shards"] == len(manifest.shards)
    assert facts["mean_sample_bytes"] * 12 == pytest.approx(facts["num_bytes"], abs=12)
    assert facts["fingerprint"] == manifest.fingerprint
    assert facts["build"]["size"] == 48
    assert facts["composition"]["num_patients"] == 6
    by_eye = [(row["group"], row["num_images"]) for row in facts["composition"]["by"]["eye"]]
    assert by_eye == [("left", 6), ("right", 6)]


def test_a_damaged_composition_is_refused(shard_set, tmp_path):
    copy = shutil.copytree(shard_set, tmp_path / "copy")
    (copy / "cohort.json").write_text("{")
    with pytest.raises(ShardError, match="cohort.json: the composition is damaged"):
        describe_shards(copy)


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet.PNG"])
def test_contact_sheet_shows_every_image(shard_set, tmp_path, name):
    drawn = write_contact_sheet(shard_set, tmp_path / name, SheetOptions(tile=32, columns=5))
    assert drawn == 12
    with Image.open(tmp_path / name) as sheet:
        assert sheet.size == (5 * 34, 3 * 34)
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    for place in range(12):
        top, left = place // 5 * 34, place % 5 * 34
        assert pixels[top + 12 : top + 20, left + 12 : left + 20, 0].mean() > 80
    assert abs(pixels[74:100, 76:166] - 90).mean() < 3  # free places stay gray


def test_contact_sheet_takes_images_from_all_over_the_set(shard_set, tmp_path):
    whole, part = tmp_path / "whole.png", tmp_path / "part.png"
    write_contact_sheet(shard_set, whole, SheetOptions(tile=32, columns=12))
    assert write_contact_sheet(shard_set, part, SheetOptions(count=3, tile=32)) == 3
    with Image.open(whole) as all_tiles, Image.open(part) as tiles:
        for place, position in enumerate((0, 4, 8)):
            expected = all_tiles.crop((position * 34, 0, position * 34 + 32, 32))
            assert tiles.crop((place * 34, 0, place * 34 + 32, 32)).tobytes() == expected.tobytes()


def test_other_kinds_of_pictures_are_refused(shard_set, tmp_path):
    with pytest.raises(
        ShardError, match=r"unknown kind of picture; got .gif, expected .jpg or .png"
    ):
        write_contact_sheet(shard_set, tmp_path / "sheet.gif", SheetOptions())
