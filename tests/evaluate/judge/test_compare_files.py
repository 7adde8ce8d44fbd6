import json
from dataclasses import replace

import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.compare_files import CompareOptions, compare_files
from tests.fakes.prediction_files import write_file

OPTIONS = CompareOptions(0.02, 0.05, "auroc", 200, 199, 0)


def compared(pairs, out, options=OPTIONS):
    page = compare_files(pairs, out, options)
    return json.loads((out / "compare.json").read_text()), page.read_text()


def test_one_test_set_gives_a_verdict_with_cross_checks(tmp_path):
    a = write_file(tmp_path / "a.parquet", effect=1.8)
    b = write_file(tmp_path / "b.parquet", effect=0.4, seed=2)
    found, page = compared([(a, b)], tmp_path / "out")
    only = found["sets"][0]
    assert only["primary"]["verdict"] == "superior"
    assert only["primary"]["p_holm"] == only["primary"]["p"]
    assert set(only["cross_checks"]) == {
        "permutation_of_patients", "delong_clustered", "delong_independent_images",
    }  # fmt: skip
    assert found["pooled"] is None
    assert "A is better than B" in found["sentences"][0]
    assert page.count("<svg") == 1


def test_several_test_sets_are_pooled_and_their_p_values_adjusted(tmp_path):
    pairs = [
        tuple(
            write_file(tmp_path / f"{name}{k}.parquet", effect=e, seed=s + k, cohort=k)
            for name, e, s in (("a", 1.3, 10), ("b", 1.0, 20))
        )
        for k in range(3)
    ]
    found, _ = compared(pairs, tmp_path / "out")
    assert all(item["primary"]["p_holm"] >= item["primary"]["p"] for item in found["sets"])
    assert found["pooled"]["low"] < found["pooled"]["value"] < found["pooled"]["high"]
    assert found["pooled"]["shares_patients"] is False
    assert found["sentences"][-1].startswith("Over 3 test sets: mean difference")


def test_the_page_says_which_files_are_a_and_b(tmp_path):
    pairs = []
    for task in ("dr", "amd"):
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir(exist_ok=True)
        a = write_file(tmp_path / "one" / f"{task}.parquet", seed=1)
        pairs.append((a, write_file(tmp_path / "two" / f"{task}.parquet", seed=len(task))))
    found, page = compared(pairs, tmp_path / "out")
    assert "<h1>Comparison of A and B</h1>" in page
    assert "dr,one/dr.parquet,two/dr.parquet" in (tmp_path / "out" / "files.csv").read_text()
    assert str(tmp_path) not in page
    assert found["pooled"]["shares_patients"] is True
    _, page = compared([(pairs[0][0], pairs[0][1].rename(tmp_path / "b.parquet"))], tmp_path / "o")
    assert "<h1>Comparison of A, dr, and B, b</h1>" in page


def test_another_primary_metric_can_be_named_and_an_unknown_one_cannot(tmp_path):
    a, b = write_file(tmp_path / "a.parquet"), write_file(tmp_path / "b.parquet", seed=2)
    found, _ = compared([(a, b)], tmp_path / "out", replace(OPTIONS, primary="brier"))
    assert found["sets"][0]["primary"]["metric"] == "brier"
    with pytest.raises(EvaluateError, match="no such metric to compare; got auc, expected auroc"):
        compared([(a, b)], tmp_path / "out", replace(OPTIONS, primary="auc"))


def test_files_about_other_images_are_refused(tmp_path):
    a, b = write_file(tmp_path / "a.parquet"), write_file(tmp_path / "b.parquet", num_patients=50)
    with pytest.raises(EvaluateError, match="not about the same images"):
        compared([(a, b)], tmp_path / "out")
    assert not (tmp_path / "out").exists()
