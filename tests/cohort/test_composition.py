"""Composition tables: images and distinct patients per group."""

import pytest

from retfm_dist.cohort.composition import (
    age_band,
    describe_composition,
    render_markdown,
)
from retfm_dist.cohort.records import ImageRecord

RECORDS = (
    ImageRecord(row=1, image_path="a", patient_id="p", age=39.9, sex="female", eye="left"),
    ImageRecord(row=2, image_path="b", patient_id="p", age=40.0, sex="female", eye="right"),
    ImageRecord(row=3, image_path="c", patient_id="q", age=40.0, sex="male", device="A|B"),
    ImageRecord(row=4, image_path="d", patient_id="q", age=40.0, sex="male"),
    ImageRecord(row=5, image_path="e", patient_id="r"),
)


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (0, "<40"),
        (39.99, "<40"),
        (40, "40-49"),
        (79.5, "70-79"),
        (80, ">=80"),
        (104, ">=80"),
        (None, "missing"),
    ],
)
def test_ages_fall_into_ten_year_bands(age, band):
    assert age_band(age) == band


def test_images_and_distinct_patients_are_counted():
    composition = describe_composition(RECORDS)
    assert (composition["num_images"], composition["num_patients"]) == (5, 3)
    assert composition["by"]["age_band"] == [
        {"group": "<40", "num_images": 1, "num_patients": 1},
        {"group": "40-49", "num_images": 3, "num_patients": 2},
        {"group": "missing", "num_images": 1, "num_patients": 1},
    ]
    assert composition["age_by_sex"] == [
        {"age_band": "<40", "sex": "female", "num_images": 1, "num_patients": 1},
        {"age_band": "40-49", "sex": "female", "num_images": 1, "num_patients": 1},
        {"age_band": "40-49", "sex": "male", "num_images": 2, "num_patients": 1},
        {"age_band": "missing", "sex": "missing", "num_images": 1, "num_patients": 1},
    ]


def test_every_grouping_covers_every_image():
    for rows in describe_composition(RECORDS)["by"].values():
        assert sum(row["num_images"] for row in rows) == len(RECORDS)


def test_markdown_shows_every_table_and_escapes_bars():
    text = render_markdown(describe_composition(RECORDS))
    assert text.startswith("# Cohort\n\n5 images of 3 patients.\n")
    assert "| 40-49 | male | 2 | 1 |" in text
    assert "| A\\|B | 1 | 1 |" in text
