import csv
import json

import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.score import NO_THRESHOLD, score_file
from tests.fakes.prediction_files import write_file


def scored(path, out):
    score_file(path, out, alpha=0.05)
    return json.loads((out / "score.json").read_text())


def test_three_levels_are_scored_with_their_rule(tmp_path):
    found = scored(write_file(tmp_path / "a.parquet"), tmp_path / "out")
    assert set(found["levels"]) == {"image", "eye", "patient"}
    for level in found["levels"].values():
        auroc = level["metrics"]["auroc"]
        assert auroc["lo"] < auroc["value"] < auroc["hi"]
    assert found["levels"]["patient"]["rule"].startswith("mean probability")
    assert set(found["thresholds"]) == {"spec90", "spec95", "sens90"}
    assert "sensitivity_at_spec90" in found["levels"]["image"]["metrics"]


def test_programs_find_all_decimals_in_one_json_and_one_long_csv(tmp_path):
    out = tmp_path / "out"
    levels = scored(write_file(tmp_path / "a.parquet"), out)["levels"]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == levels["image"]["metrics"]
    assert {"value", "lo", "hi", "method", "n_images", "n_patients"} <= set(metrics["auroc"])
    with (out / "metrics.csv").open(newline="") as file:
        rows = {(row["level"], row["metric"]): row for row in csv.DictReader(file)}
    assert len(rows) == sum(len(level["metrics"]) for level in levels.values())
    for (level, name), row in rows.items():
        expected = levels[level]["metrics"][name]
        for key in ("value", "lo", "hi"):
            assert row[key] == ("" if expected[key] is None else str(expected[key]))
        assert row["method"] == expected["method"]


def test_without_validation_images_there_is_no_threshold_and_without_eyes_no_eye_level(tmp_path):
    path = write_file(tmp_path / "a.parquet", drop=("split", "eye"))
    found = scored(path, tmp_path / "out")
    assert NO_THRESHOLD in found["sentences"]
    assert found["levels"]["eye"] == {"note": "the file does not say which eye an image shows"}
    assert "sensitivity_at_spec90" not in found["levels"]["image"]["metrics"]


def test_the_same_file_gives_the_same_bytes_and_a_faulty_one_leaves_the_old_result(tmp_path):
    path, out = write_file(tmp_path / "a.parquet"), tmp_path / "out"
    scored(path, out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    scored(path, out)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    path.write_bytes(b"text")
    with pytest.raises(EvaluateError, match="not a predictions file"):
        score_file(path, out, alpha=0.05)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_numbers_are_scored_as_a_regression(tmp_path):
    found = scored(write_file(tmp_path / "a.parquet", is_regression=True), tmp_path / "out")
    metrics = found["levels"]["image"]["metrics"]
    assert set(metrics) == {"mae", "r2"}
    assert metrics["mae"]["lo"] < metrics["mae"]["value"] < metrics["mae"]["hi"]
    assert found["sentences"][0].startswith("MAE ")
