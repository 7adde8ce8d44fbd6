import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.predictions import predictions_path, write_predictions
from retfm_dist.evaluate.predictions_file import read_predictions
from tests.fakes.predictions import predictions


def columns(num_patients=6):
    """Somebody's predictions: two images per patient, other names of columns, no metadata."""
    count = 2 * num_patients
    p = np.linspace(0.1, 0.9, count)
    return {
        "image_id": [f"img{i}" for i in range(count)],
        "patient_id": [f"pat{i // 2}" for i in range(count)],
        "y": [i // 2 % 2 for i in range(count)],
        "p_0": 1 - p,
        "p_1": p,
    }


def write(path, **changes):
    table = {**columns(), **changes}
    pyarrow.parquet.write_table(
        pyarrow.table({name: v for name, v in table.items() if v is not None}), path
    )
    return path


def changed(name, row, value):
    cells = list(columns()[name])
    cells[row] = value
    return {name: cells}


def test_anybodys_predictions_are_read(tmp_path):
    found = read_predictions(write(tmp_path / "a.parquet", sex=["F", "M", None] * 4))
    assert (found.model, found.num_classes, found.num_replicates) == ("a", 2, 1)
    assert found.design.kind == "fixed"
    assert found.probabilities[0, :, 1].tolist() == columns()["p_1"].tolist()
    assert found.attributes["sex"].tolist() == ["F", "M", None] * 4


def test_blanks_and_what_is_no_number_are_missing_and_no_groups(tmp_path):
    cells = {"sex": ["F", " ", "", "F "] * 3, "bmi": [21.5, np.nan, 30.0, 21.5] * 3}
    found = read_predictions(write(tmp_path / "a.parquet", **cells)).attributes
    assert found["sex"].tolist() == ["F", None, None, "F"] * 3
    assert found["bmi"].tolist() == ["21.5", None, "30.0", "21.5"] * 3


def test_numbers_are_read_as_a_regression(tmp_path):
    y = np.linspace(40, 80, 12)
    path = write(tmp_path / "a.parquet", y=y, prediction=y + 1, p_0=None, p_1=None)
    found = read_predictions(path)
    assert found.num_classes == 1
    assert (found.probabilities[0, :, 0] - found.labels).tolist() == pytest.approx([1.0] * 12)


def test_seeds_and_repeats_become_replicates(tmp_path):
    twice = {name: [*values, *values] for name, values in columns().items()}
    found = read_predictions(write(tmp_path / "a.parquet", **twice, seed=[0] * 12 + [1] * 12))
    assert (found.design.kind, found.num_replicates) == ("seeds", 2)
    folds = [i // 2 % 3 for i in range(12)]
    path = write(
        tmp_path / "b.parquet", **twice, repeat=[0] * 12 + [1] * 12, fold=folds + folds[::-1]
    )
    found = read_predictions(path)
    assert (found.design.kind, found.design.num_folds) == ("cross_validation", 3)
    assert found.folds.tolist() == [folds, folds[::-1]]


@pytest.mark.parametrize("share", [-0.1, 1.5, "half"])
def test_a_reciprocity_that_is_no_share_is_refused(tmp_path, share):
    path = write(tmp_path / "a.parquet")
    table = pyarrow.parquet.read_table(path)
    facts = {b"retfm": json.dumps({"reciprocity": share}).encode()}
    pyarrow.parquet.write_table(table.replace_schema_metadata(facts), path)
    with pytest.raises(EvaluateError, match="the reciprocity of the fits is no share; got"):
        read_predictions(path)


FOLDS = [i // 2 % 2 for i in range(12)]
FAULTS = {
    "y of 2": (changed("y", 4, 2), "column y, row 5: y is not a class; got 2.0"),
    "y of -1": (changed("y", 0, -1), "column y, row 1: y is not a class; got -1.0"),
    "y of .7": (changed("y", 11, 0.7), "column y, row 12: y is not a class; got 0.7"),
    "no y": ({"y": None}, "no column y"),
    "null y": (changed("y", 3, None), "column y, row 4: a value is missing"),
    "y all 0": ({"y": [0] * 12}, "column y: all images are of one class"),
    "y as text": ({"y": ["0", "1"] * 6}, "column y, row 1: not a column of numbers; got string"),
    "doubled row": (changed("image_id", 7, "img2"), "row 8: an image occurs twice"),
    "all ids equal": ({"image_id": ["img0"] * 12}, "row 2: an image occurs twice"),
    "null image": (changed("image_id", 7, None), "column image_id, row 8: a value is missing"),
    "null patient": (
        changed("patient_id", 7, None),
        "column patient_id, row 8: a value is missing",
    ),
    "empty patient": (changed("patient_id", 7, " "), "column patient_id, row 8: empty"),
    "case of a patient": (
        changed("patient_id", 7, "PAT3"),
        "column patient_id, row 8: two patient ids that differ in spelling only",
    ),
    "float patients": (
        {"patient_id": [1.0] * 12},
        "column patient_id: identifiers are floating-point",
    ),
    "wrong p_0": (changed("p_0", 2, 0.3), "column p_0 .. p_1, row 3: .* do not add up to 1"),
    "p above 1": (changed("p_1", 3, 1.5), "column p_1, row 4: p_1 is not in .0, 1.; got 1.5"),
    "p below 0": (changed("p_1", 3, -0.1), "column p_1, row 4: p_1 is not in"),
    "p not a number": (changed("p_1", 3, np.nan), "column p_1, row 4: p_1 is not finite"),
    "null p": (changed("p_1", 3, None), "column p_1, row 4: a value is missing"),
    "text in p": ({"p_1": ["high"] * 12}, "column p_1, row 1: not a column of numbers"),
    "p_1 missing": ({"p_1": None}, "columns of probabilities are missing; got p_0"),
    "two id columns": ({"uid": ["x"] * 12}, "exactly one of the columns uid and image_id"),
    "null fold": ({"fold": [None, *FOLDS[1:]]}, "column fold, row 1: a value is missing"),
    "half a fold": ({"fold": [0.5, *FOLDS[1:]]}, "column fold, row 1: fold is not a whole number"),
    "patient in two folds": (
        {"fold": [1, *FOLDS[1:]]},
        "column fold, row .: a patient in two folds",
    ),
    "a single fold": ({"fold": [0] * 12}, "column fold: a single fold"),
    "repeat alone": ({"repeat": [0] * 12}, "a column repeat without a column fold"),
    "fold and seed": ({"fold": FOLDS, "seed": [0] * 12}, "columns fold and seed"),
    "patient in two splits": (
        {"split": ["val", *["test"] * 11]},
        "column split, row 2: a patient in two splits; got val and test",
    ),
    "unknown split": (
        {"split": [*["test"] * 10, *["Test"] * 2]},
        "column split, row 11: no such split; got Test, expected train, val, test",
    ),
    "no test image": (
        {"split": ["val"] * 6 + ["train"] * 6},
        "column split: no test images; got train, val",
    ),
    "test images of one class": (
        {"split": ["test"] * 6 + ["val"] * 6, "y": [1] * 6 + [0, 1] * 3},
        "column y: the test images are of one class; got 1",
    ),
    "null split": ({"split": [None, *["test"] * 11]}, "column split, row 1: a value is missing"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_names_file_column_and_row(tmp_path, name):
    changes, message = FAULTS[name]
    with pytest.raises(EvaluateError, match=f"bad.parquet.*{message}"):
        read_predictions(write(tmp_path / "bad.parquet", **changes))


def doubled(**second):
    twice = {name: [*values, *values] for name, values in columns().items()}
    for name, (row, value) in second.items():
        twice[name][12 + row] = value
    return {**twice, "seed": [0] * 12 + [1] * 12}


def test_replicates_about_other_images_labels_or_patients_are_errors(tmp_path):
    half = {name: values[:18] for name, values in doubled().items()}
    for changes, message in (
        (half, "seed 1: the replicates are not about the same images; got 6 images"),
        (doubled(image_id=(0, "new")), "not about the same images"),
        (doubled(y=(0, 1)), "column y, row 13: y of an image differs between replicates"),
        (doubled(patient_id=(0, "pat9")), "column patient, row 13: patient of an image differs"),
    ):
        with pytest.raises(EvaluateError, match=message):
            read_predictions(write(tmp_path / "bad.parquet", **changes))


def test_no_rows_no_file_and_other_files_are_errors(tmp_path):
    empty = pyarrow.table({name: pyarrow.array(list(v)[:0]) for name, v in columns().items()})
    pyarrow.parquet.write_table(empty, tmp_path / "empty.parquet")
    with pytest.raises(EvaluateError, match="empty.parquet: no rows"):
        read_predictions(tmp_path / "empty.parquet")
    with pytest.raises(EvaluateError, match="gone.parquet: no predictions"):
        read_predictions(tmp_path / "gone.parquet")
    (tmp_path / "text.parquet").write_bytes(b"text")
    with pytest.raises(EvaluateError, match="text.parquet: not a predictions file"):
        read_predictions(tmp_path / "text.parquet")


def test_a_file_of_another_model_under_this_ones_name_is_an_error(tmp_path):
    write_predictions(tmp_path, predictions())
    path = predictions_path(tmp_path, model="m", task="t", protocol="linear")
    assert read_predictions(path, expected={"model": "m", "task": "t"}).model == "m"
    with pytest.raises(EvaluateError, match="predictions of another model; got m, expected other"):
        read_predictions(path, expected={"model": "other"})
