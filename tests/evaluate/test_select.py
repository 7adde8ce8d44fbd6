import csv

import numpy as np
import pytest

from retfm_dist.cohort.records import ImageRecord
from retfm_dist.cohort.table import read_archive_table
from retfm_dist.errors import CohortError, EvaluateError
from retfm_dist.evaluate.config import TaskConfig
from retfm_dist.evaluate.select import read_tasks, select_samples
from tests.fakes.evaluation import checked, evaluation, read_table, write_archive
from tests.fakes.tables import flow, one_task


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


def test_one_class_is_an_error_that_shows_the_values(archive):
    label = {"column": "grade", "positive": [4], "negative": [0]}
    with pytest.raises(
        EvaluateError,
        match=r"task x: images of every class are needed; got 2 negative, 0 positive images; compare .*column grade.*positive \[4\]",
    ):
        one_task(archive, label=label)


def test_a_missing_label_column_is_an_error(archive):
    with pytest.raises(
        CohortError,
        match="a column is missing; got . columns, of them known: image_path.*expected a column grades",
    ):
        one_task(archive, label={"column": "grades", "positive": [1], "negative": [0]})


def test_a_missing_standard_column_has_no_labels(archive):
    with pytest.raises(
        EvaluateError, match="images of every class are needed; got 0 negative, 0 positive"
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


@pytest.mark.parametrize(
    ("column", "values", "spelled"),
    [
        ("sex", ["M", "F"], ["M", "Female"]),
        ("sex", ["male", "F"], ["m", "f"]),
        ("eye", ["OD", "OS"], ["right", "L"]),
        ("age", ["50", "61"], ["50.0", "61"]),
        ("modality", ["CFP", "OCT"], ["colour fundus photograph", "oct"]),
        ("label_x", ["1", "0"], ["1.0", "FALSE"]),
        ("quality", ["good", "bad"], [" good ", "bad"]),
    ],
)
def test_filters_and_labels_take_the_spelling_of_the_table(tmp_path, column, values, spelled):
    lines = [f"image_path,patient_id,{column}"]
    lines += [f"{i}.png,P{i},{spelled[i % 2]}" for i in range(4)]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    records = read_archive_table(tmp_path / "table.csv")
    label = {"column": column, "positive": (values[0],), "negative": (values[1],)}
    chosen = {"column": column, "values": tuple(values)}
    task = TaskConfig(id="x", title="X", table="t", label=label, filter=chosen)
    assert select_samples(records, task, where="table.csv").labels.tolist() == [1, 0, 1, 0]


def test_a_filter_that_keeps_nothing_is_blamed_itself(archive):
    message = "task x: the filter keeps no row; got column source with .*here.*expected one of mars; compare filter.values"
    with pytest.raises(EvaluateError, match=message):
        one_task(archive, filter={"column": "source", "values": ["mars"]})


def test_a_value_that_the_column_cannot_hold_is_refused(archive):
    with pytest.raises(CohortError, match="task x: filter.values: unknown eye"):
        one_task(archive, filter={"column": "eye", "values": ["both"]})


def test_two_spellings_of_one_value_are_not_two_classes(archive):
    with pytest.raises(EvaluateError, match="two classes name the same value; got \\['right'\\]"):
        one_task(archive, label={"column": "eye", "positive": ["OD"], "negative": ["right"]})


THREE = {
    "column": "grade",
    "classes": [{"name": "none", "values": [0]}, {"name": "mild", "values": [1]},
                {"name": "worse", "values": [2, 3]}],
}  # fmt: skip


def test_classes_are_numbered_in_the_order_of_the_config(archive):
    samples = one_task(archive, label=THREE)
    assert samples.classes == ("none", "mild", "worse")
    assert samples.labels.tolist() == [0, 2, 1, 0]
    assert flow(samples)[-1] == ("grade is of no class", 1)


def split_table(tmp_path, splits, patients=None):
    lines = ["image_path,patient_id,grade,part"]
    patients = patients or range(len(splits))
    lines += [
        f"{i}.png,P{p},{i % 2},{s}" for i, (s, p) in enumerate(zip(splits, patients, strict=True))
    ]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    return {
        "filter": None,
        "label": {"column": "grade", "positive": [1], "negative": [0]},
        "split": {"column": "part"},
    }


def test_a_split_column_says_which_images_are_predicted(tmp_path):
    names = ["train", "training", "train", "train", "val", "valid", "test", "testing", "other"]
    samples = one_task(tmp_path, **split_table(tmp_path, [*names, ""]))
    assert samples.splits.tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    assert flow(samples)[-1][0] == "part is no set of the task"
    kept = [samples.splits[row] for row in samples.predicted()]
    assert kept == ["val", "val", "test", "test"]


def test_a_patient_in_two_sets_is_an_error(tmp_path):
    splits = ["train", "train", "test", "test"]
    with pytest.raises(
        EvaluateError,
        match="task x, column part: a patient in two sets; got row 2 in train, row 4 in test",
    ):
        one_task(tmp_path, **split_table(tmp_path, splits, patients=[0, 1, 2, 1]))


@pytest.mark.parametrize(
    ("splits", "place"),
    [
        (["train", "test", "train", "test", "test"], "train set: images of every class"),
        (["train", "train", "test", "val", "test"], "val set: images of every class"),
        (["train", "train", "test", "train", "test"], "test set: images of every class"),
    ],
)
def test_a_set_of_one_class_is_an_error(tmp_path, splits, place):
    with pytest.raises(EvaluateError, match=place):
        one_task(tmp_path, **split_table(tmp_path, splits))
