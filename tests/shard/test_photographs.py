"""The real photographs: all are packed, and every circle is where a camera could have put it."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retfm_dist.cohort.table import read_archive_table
from retfm_dist.shard.build import build_shards
from retfm_dist.shard.packing.options import BuildOptions
from retfm_dist.shard.verify import verify_shards
from tests.fakes.archive import SALT

# Radius of the field of view over the photograph's width, by camera; measured by eye on contact
# sheets, wide enough for the spread between patients.
RADIUS_RATIOS = {
    (3504, 2336): (0.455, 0.475),
    (3872, 2592): (0.380, 0.400),
    (565, 584): (0.465, 0.485),
    (1620, 1444): (0.440, 0.452),
    (2464, 1632): (0.318, 0.332),
}


@pytest.mark.photographs
@pytest.mark.slow
def test_all_photographs_are_packed_with_plausible_circles(tmp_path):
    if not os.environ.get("RETFM_FUNDUS"):
        pytest.skip("RETFM_FUNDUS does not name the folder of photographs")
    images_dir = Path(os.environ["RETFM_FUNDUS"])
    records = read_archive_table(images_dir / "manifest.csv", keep_columns=["source", "grade"])
    options = BuildOptions(images_dir=images_dir, salt=SALT)
    summary = build_shards(records, options, tmp_path / "set")
    assert (summary.num_samples, summary.kinds, summary.rejected) == (115, {"circle": 115}, {})
    assert verify_shards(tmp_path / "set", full=True).num_samples == 115
    with tarfile.open(tmp_path / "set" / "000000.tar") as archive:
        members = {info.name: archive.extractfile(info).read() for info in archive}
    for name, data in members.items():
        if name.endswith(".json"):
            facts = json.loads(data)
            check_circle(facts)
            check_pixels(members[f"{facts['key']}.jpg"])


def check_circle(facts):
    field, width, height = facts["field_of_view"], facts["source_width"], facts["source_height"]
    low, high = RADIUS_RATIOS[width, height]
    assert low < field["radius"] / width < high, facts
    assert abs(field["center_x"] / width - 0.5) < 0.07, facts
    assert abs(field["center_y"] / height - 0.5) < 0.03, facts


def check_pixels(jpeg):
    """The circle reaches the left and right edge of the square; its corners are black."""
    with Image.open(io.BytesIO(jpeg)) as image:
        pixels = np.asarray(image).max(axis=2)
    size = len(pixels)
    assert pixels.shape == (size, size)
    corner = size // 10
    assert pixels[:corner, :corner].mean() < 4
    assert pixels[-corner:, -corner:].mean() < 4
    middle = pixels[size // 2 - 20 : size // 2 + 20]
    assert middle[:, 8:24].mean() > 12
    assert middle[:, -24:-8].mean() > 12
