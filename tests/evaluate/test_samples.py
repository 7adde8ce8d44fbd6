import csv

import numpy as np
import pytest

from retfm_dist.cohort.records import ImageRecord
from retfm_dist.errors import CohortError, EvaluateError
from retfm_dist.evaluate.config import ComputeConfig, TableConfig, TaskConfig
from retfm_dist.evaluate.encode.features import EncodedImages, encode_images
from retfm_dist.evaluate.samples import (
    describe_samples,
    drop_copies,
    drop_missing,
    drop_unusable,
    list_photographs,
    read_tasks,
    select_samples,
)
from tests.fakes.evaluation import checked, evaluation, read_table, write_archive, write_table

COLUMNS = ("image_path", "patient_id", "eye", "source", "grade", "age", "quality")
ROWS = [
    ("a.png", "P1", "L", "here", "0", "44", "good"),
    ("b.png", "P1", "R", "here", "2", "44", "good"),
    ("c.png", "P2", "L", "here", "1.0", "71", "bad"),
    ("d.png", "P2", "R", "here", "", "71", "bad"),
    ("e.png", "P3", "L", "here", "ungradable", "", "good"),
    ("f.png", "P3", "R", "there", "0", "", "good"),
    ("g.png", "P4", "L", "here", "0", "", "bad"),
]


@pytest.fixture
def archive(tmp_path):
    write_table(tmp_path / "table.csv", ROWS, COLUMNS)
    for row in ROWS:
        (tmp_path / row[0]).write_bytes(row[0].encode())
    return tmp_path


def table(archive, **changes):
    return TableConfig(path=archive / "table.csv", images=archive, **changes)


def hashed(samples, archive):
    photographs = list_photographs([samples], table(archive))
    return encode_images(photographs, [], cache_dir=archive / "cache", compute=ComputeConfig())


def one_task(archive, **changes):
    task = {
        "id": "x",
        "title": "X",
        "table": "discs",
        "filter": {"column": "source", "values": ["here"]},
        "label": {"column": "grade", "positive": [1, 2, 3], "negative": [0]},
        **changes,
    }
    return read_tasks(checked(evaluation(archive, tasks=[task])))[0]


def flow(samples):
    return [(step.reason, step.num_images) for step in samples.exclusions]


def test_rows_are_selected_by_filter_and_label_and_every_exclusion_is_counted(archive):
    samples = one_task(archive)
    assert [record.image_path for record in samples.records] == ["a.png", "b.png", "c.png", "g.png"]
    assert samples.labels.tolist() == [0, 1, 1, 0]
    assert flow(samples) == [
        ("source has another value", 1),
        ("no grade", 1),
        ("grade is neither positive nor negative", 1),
    ]
    assert samples.num_rows == len(samples.records) + sum(count for _, count in flow(samples))


def test_without_a_filter_all_rows_count(archive):
    assert len(one_task(archive, filter=None).records) == 5


def test_standard_columns_can_be_filter_and_label(archive):
    label = {"column": "quality", "positive": ["bad"], "negative": ["good"]}
    samples = one_task(archive, filter={"column": "eye", "values": ["left"]}, label=label)
    assert samples.labels.tolist() == [0, 1, 0, 1]


def test_patients_are_coded_by_first_appearance(archive):
    assert one_task(archive).patients().tolist() == [0, 0, 1, 2]


def test_counts_and_subgroups_hold_no_identifier(archive):
    facts = describe_samples(one_task(archive))
    assert (facts["num_images"], facts["num_patients"]) == (4, 3)
    assert (facts["num_positive_images"], facts["num_negative_images"]) == (2, 2)
    assert (facts["num_positive_patients"], facts["num_negative_patients"]) == (2, 1)
    groups = [
        (g["attribute"], g["group"], g["num_images"], g["num_positive_patients"])
        for g in facts["subgroups"]
    ]
    assert groups == [
        ("age_band", "40-49", 2, 1),
        ("age_band", "70-79", 1, 1),
        ("age_band", "missing", 1, 0),
        ("eye", "left", 3, 1),
        ("eye", "right", 1, 1),
    ]
    assert "P1" not in str(facts)
    assert "a.png" not in str(facts)


def test_missing_files_are_left_out_and_counted(archive):
    (archive / "c.png").unlink()
    samples = one_task(archive)
    left = drop_missing(samples, table(archive, max_bad_ratio=0.5))
    assert [record.image_path for record in left.records] == ["a.png", "b.png", "g.png"]
    assert flow(left)[-1] == ("image file missing", 1)


def test_too_many_missing_files_are_an_error_that_names_rows_not_files(archive):
    (archive / "c.png").unlink()
    samples = one_task(archive)
    with pytest.raises(
        EvaluateError,
        match=r"task x, table discs: image files are missing: 1 of 4; got rows 3, expected at most 1.00%",
    ) as caught:
        drop_missing(samples, table(archive, max_bad_ratio=0.01))
    assert "c.png" not in str(caught.value)


def test_unreadable_images_are_left_out_and_counted(archive):
    samples = one_task(archive)
    digests = hashed(samples, archive).digests
    encoded = EncodedImages(digests, {}, bad={digests[samples.records[1].row]: "truncated"})
    left = drop_unusable(samples, encoded, max_bad_ratio=0.25)
    assert ("image unreadable or without a field of view", 1) in flow(left)
    with pytest.raises(EvaluateError, match="images are unreadable: 1 of 4; got rows 2"):
        drop_unusable(samples, encoded, max_bad_ratio=0.2)


def test_copies_are_left_out_and_contradicting_ones_altogether(archive):
    (archive / "b.png").write_bytes(b"a.png")  # same patient, other label
    (archive / "g.png").write_bytes(b"c.png")  # other patient, other label
    samples = one_task(archive)
    digests = hashed(samples, archive).digests
    assert not drop_copies(samples, digests).records
    write_table(archive / "table.csv", [*ROWS, ("h.png", "P5", "L", "here", "0", "", "")], COLUMNS)
    (archive / "b.png").write_bytes(b"b.png")
    (archive / "h.png").write_bytes(b"h.png")
    (archive / "i.png").write_bytes(b"h.png")
    write_table(
        archive / "table.csv",
        [
            *ROWS,
            ("h.png", "P5", "L", "here", "0", "", ""),
            ("i.png", "P5", "L", "here", "0", "", ""),
        ],
        COLUMNS,
    )
    samples = one_task(archive)
    left = drop_copies(samples, hashed(samples, archive).digests)
    assert [record.image_path for record in left.records] == ["a.png", "b.png", "h.png"]
    assert flow(left)[-1] == ("exact copy of another image", 3)


def test_one_class_is_an_error_that_shows_the_values(archive):
    label = {"column": "grade", "positive": [4], "negative": [0]}
    with pytest.raises(
        EvaluateError,
        match=r"task x: both classes are needed; got 0 positive and 2 negative images; compare .*column grade.*\[4\]",
    ):
        one_task(archive, label=label)


def test_a_missing_label_column_is_an_error(archive):
    with pytest.raises(
        CohortError,
        match="a column is missing; got the columns image_path.*expected a column grades",
    ):
        one_task(archive, label={"column": "grades", "positive": [1], "negative": [0]})


def test_a_missing_standard_column_has_no_labels(archive):
    with pytest.raises(
        EvaluateError, match="both classes are needed; got 0 positive and 0 negative"
    ):
        one_task(archive, label={"column": "sex", "positive": ["male"], "negative": ["female"]})


def test_identifying_columns_are_no_labels(archive):
    with pytest.raises(CohortError, match="identifies people and is never kept; got patient_id"):
        one_task(archive, label={"column": "patient_id", "positive": ["P1"], "negative": ["P2"]})


def test_a_table_without_patients_is_an_error(archive):
    with (archive / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image_path", "grade", "source"), ("a.png", "0", "here")])
    with pytest.raises(CohortError, match="expected a column patient_id"):
        one_task(archive)


def test_tasks_keep_the_order_of_the_config(tmp_path):
    write_archive(tmp_path, num_patients=4)
    names = [samples.task.id for samples in read_tasks(checked(evaluation(tmp_path)))]
    assert names == ["bright", "noise"]
    assert len(read_table(tmp_path / "table.csv")) == 8


def test_a_column_that_was_not_read_is_an_error():
    task = TaskConfig(
        id="x",
        title="X",
        table="t",
        label={"column": "label_y", "positive": (1,), "negative": (0,)},
    )
    record = ImageRecord(row=1, image_path="a.png", patient_id="P1")
    with pytest.raises(EvaluateError, match="table.csv, task x: no column label_y"):
        select_samples([record], task, where="table.csv")


def test_numbers_match_every_spelling(archive):
    samples = one_task(archive)
    assert np.array_equal(samples.labels, [0, 1, 1, 0])  # "1.0" is 1
