"""Whole evaluations of more than two classes, of grades, of fixed sets and of image folders."""

import csv
import json
import shutil

import numpy as np
import pytest

from retfm_dist.evaluate.predictions import predictions_path
from retfm_dist.evaluate.predictions_file import read_predictions
from retfm_dist.evaluate.run import run_evaluation
from retfm_dist.statistics.auroc import auroc
from tests.fakes.evaluation import checked, draw_disc, evaluation, write_table

MODELS = [
    {"kind": "handcrafted", "id": "floor"},
    {"kind": "export", "id": "tiny", "path": "export"},
]
GRADES = [
    {"name": "none", "values": [0]},
    {"name": "mild", "values": [1]},
    {"name": "severe", "values": [2]},
]


def add_columns(root, num_patients=28):
    """Give the table a grade that brightness tells, and sets by patient."""
    rng = np.random.default_rng(7)
    rows = []
    for patient in range(num_patients * 2):
        grade = patient % 3
        part = ("train", "train", "val", "test", "test")[patient // 3 % 5]
        for eye in ("left", "right"):
            path = f"images/g{patient:03d}_{eye}.png"
            picture = draw_disc(rng, bright=grade == 2)
            if grade == 0:
                picture = picture.point(lambda value: value * 0.7)
            picture.save(root / path)
            rows.append((path, f"HOSP{patient:05d}", eye, grade, part))
    write_table(root / "grades.csv", rows, ("image_path", "patient_id", "eye", "grade", "part"))


def judge(root, **task):
    add_columns(root)
    values = evaluation(
        root,
        models=[{**m, "path": str(root / "export")} if "path" in m else m for m in MODELS],
        tables={"graded": {"path": str(root / "grades.csv")}},
        tasks=[{"id": "grade", "title": "Grade", "table": "graded", **task}],
        repeats=5,
    )
    run_evaluation(checked(values))
    metrics = json.loads((root / "out" / "metrics.json").read_text())
    path = predictions_path(root / "out", model="floor", task="grade", protocol="linear")
    found = next(
        r for r in metrics["results"] if r["model"] == "floor" and r["protocol"] == "linear"
    )
    page = (root / "out" / "report.html").read_text()
    return found, read_predictions(path), page, metrics


def test_three_classes_have_a_mean_auroc_and_figures_of_their_own(copied):
    found, predictions, page, _ = judge(copied, label={"column": "grade", "classes": GRADES})
    assert predictions.probabilities.shape == (5, 112, 3)
    assert found["primary"] == "auroc"
    by_class = [found["metrics"][f"auroc_{k}"]["value"] for k in range(3)]
    assert found["metrics"]["auroc"]["value"] == pytest.approx(np.mean(by_class))
    assert by_class[0] > 0.9
    assert "severe against the rest" in page
    assert "mean of each class against the rest" in page


def test_grades_are_compared_by_quadratic_kappa(copied):
    label = {"column": "grade", "classes": GRADES, "is_ordinal": True}
    found, predictions, page, metrics = judge(copied, label=label)
    assert found["primary"] == "kappa_quadratic"
    kappa = found["metrics"]["kappa_quadratic"]
    assert 0.5 < kappa["lo"] < kappa["value"] < kappa["hi"] < 1
    assert {pair["comparison"]["metric"] for pair in metrics["comparisons"]} == {"kappa_quadratic"}
    assert "quadratic kappa" in page
    assert predictions.num_classes == 3


def test_fixed_sets_are_fitted_chosen_and_judged_apart(copied):
    label = {"column": "grade", "positive": [2], "negative": [0, 1]}
    found, predictions, page, _ = judge(copied, label=label, split={"column": "part"})
    assert set(predictions.splits) == {"val", "test"}
    test = predictions.splits == "test"
    assert found["metrics"]["auroc"]["n_images"] == test.sum()
    expected = auroc(predictions.labels[test], predictions.scores[test])
    assert found["metrics"]["auroc"]["value"] == pytest.approx(expected)
    assert set(found["thresholds"]) == {"spec90", "spec95", "sens90"}
    with (copied / "out" / "tables" / "operating_points.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 3
    validation = predictions.scores[(predictions.splits == "val") & (predictions.labels == 0)]
    assert (validation >= found["thresholds"]["spec90"]).mean() <= 0.1
    assert "<h3>Operating points</h3>" in page
    assert "Tasks with fixed sets are fitted on the train set" in page


def test_an_image_folder_needs_no_table(copied):
    add_columns(copied)
    with (copied / "grades.csv").open() as file:
        for row in csv.DictReader(file):
            name = "severe" if row["grade"] == "2" else "other"
            target = copied / "folder" / row["part"] / name / row["image_path"].split("/")[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(copied / row["image_path"], target)
    task = {
        "id": "grade",
        "title": "Grade",
        "table": "graded",
        "label": {"column": "class", "positive": ["severe"], "negative": ["other"]},
        "split": {"column": "split"},
    }
    folder = {"path": str(copied / "folder"), "patient_pattern": r"^g(?P<patient>\d+)_"}
    values = evaluation(copied, models=MODELS[:1], tables={"graded": folder}, tasks=[task])
    run_evaluation(checked(values))
    first = json.loads((copied / "out" / "metrics.json").read_text())["results"]
    assert (
        first[0]["metrics"]["auroc"]["n_patients"] * 2 == first[0]["metrics"]["auroc"]["n_images"]
    )
    assert "are not known" not in (copied / "out" / "report.html").read_text()
    values["tables"] = {"graded": {"path": str(copied / "folder")}}
    run_evaluation(checked(values))
    second = json.loads((copied / "out" / "metrics.json").read_text())["results"]
    assert second[0]["metrics"]["auroc"]["value"] == first[0]["metrics"]["auroc"]["value"]
    page = (copied / "out" / "report.html").read_text()
    assert 'class="warning">The patients of &#39;Grade&#39; are not known' in page
