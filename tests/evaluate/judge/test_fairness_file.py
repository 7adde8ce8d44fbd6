import json

import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.fairness import FairnessOptions
from retfm_dist.evaluate.judge.fairness_file import judge_fairness
from tests.fakes.prediction_files import write_file


def judged(tmp_path, path, **options):
    values = {
        "against": None, "attributes": [], "intersections": [], "margin": 0.02,
        "options": FairnessOptions(0.05, 199, 0, ()), **options,
    }  # fmt: skip
    out = tmp_path / "out"
    judge_fairness(path, out, **values)
    return json.loads((out / "fairness.json").read_text()), out


def test_known_attributes_are_judged_and_adjusted_together(tmp_path):
    found, out = judged(tmp_path, write_file(tmp_path / "a.parquet", num_patients=400))
    names = [item["attribute"] for item in found["attributes"]]
    assert names == ["age", "sex"]
    assert all(item["p_holm"] >= item["gap"]["p"] for item in found["attributes"])
    assert found["attributes"][1]["equalized_odds"]["low"] >= 0
    assert (out / "groups_sex.tex").is_file()


def test_two_models_are_compared_group_by_group_and_confounders_standardized(tmp_path):
    a = write_file(tmp_path / "a.parquet", num_patients=400)
    b = write_file(tmp_path / "b.parquet", num_patients=400, seed=2)
    options = FairnessOptions(0.05, 199, 0, ("sex",))
    found, _ = judged(tmp_path, a, against=b, attributes=["sex"], options=options)
    gap = found["gaps_of_two_models"][0]
    assert set(gap["by_group"]) == {"F", "M"}
    assert 0 <= gap["p"] <= 1


def test_gaps_of_two_models_are_adjusted_for_the_number_of_attributes(tmp_path):
    a = write_file(tmp_path / "a.parquet", num_patients=400)
    b = write_file(tmp_path / "b.parquet", num_patients=400, seed=2)
    found, _ = judged(tmp_path, a, against=b)
    ps = sorted(gap["p"] for gap in found["gaps_of_two_models"])
    adjusted = sorted(gap["p_holm"] for gap in found["gaps_of_two_models"])
    assert adjusted == pytest.approx([min(2 * ps[0], 1), max(ps[1], min(2 * ps[0], 1))])
    sentences = [text for text in found["sentences"] if "gaps" in text]
    for gap, text in zip(found["gaps_of_two_models"], sentences, strict=True):
        assert f"(p {gap['p_holm']:.3f})" in text
        assert ("the two models' gaps differ" in text) == (gap["p_holm"] <= 0.05)


def test_joint_groups_print_no_counts_that_would_undo_the_hiding_of_single_ones(tmp_path):
    path = write_file(tmp_path / "a.parquet", num_patients=400)
    found, out = judged(tmp_path, path, intersections=[("sex", "age")])
    joint = found["attributes"][-1]
    assert joint["attribute"] == "sex x age"
    assert all(set(g) == {"group", "metrics", "auroc_standardized"} for g in joint["groups"])
    header = (out / "groups_sex_x_age.csv").read_text().splitlines()[0]
    assert "patients" not in header


def test_small_groups_are_withheld_in_every_form(tmp_path):
    path = write_file(tmp_path / "a.parquet", num_patients=60, rare_sex=4)
    found, out = judged(tmp_path, path, attributes=["sex"])
    rare = next(g for g in found["attributes"][0]["groups"] if g["group"] == "M")
    assert (rare["num_patients"], rare["metrics"]) == ("-", {})
    other = next(g for g in found["attributes"][0]["groups"] if g["group"] == "F")
    assert other["num_patients"] == "-"
    text = "".join(file.read_text() for file in out.iterdir())
    assert "withheld" in text
    assert "fewer than two groups" in found["sentences"][0]


def test_three_classes_are_refused(tmp_path):
    with pytest.raises(EvaluateError, match="fairness needs two classes"):
        judged(tmp_path, write_file(tmp_path / "a.parquet", is_regression=True))
