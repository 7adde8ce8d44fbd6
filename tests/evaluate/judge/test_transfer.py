import json

import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.transfer import judge_transfer
from tests.fakes.prediction_files import write_file


def study(tmp_path, num_patients=400, **changes):
    """Model a is of site x and better on its own test set; both lose on the other one."""
    effects = {("a", "X"): 2.0, ("a", "Y"): 0.8, ("b", "X"): 1.2, ("b", "Y"): 0.9}
    effects |= {tuple(cell): effect for cell, effect in changes.items()}
    lines = ["task,model,model_site,train,test,test_site,path"]
    for (model, test), effect in effects.items():
        name = f"{model}{test}.parquet"
        write_file(
            tmp_path / name,
            effect=effect,
            seed=hash_of(model),
            cohort=hash_of(test),
            num_patients=num_patients,
        )
        site = {"a": "X", "b": "Y"}[model]
        lines.append(f"dr,{model},{site},X,{test},{test},{name}")
    (tmp_path / "cells.csv").write_text("\n".join(lines))
    judge_transfer(tmp_path / "cells.csv", tmp_path / "out", margin=0.02, alpha=0.05)
    return json.loads((tmp_path / "out" / "transfer.json").read_text())


def hash_of(name):
    return sum(map(ord, name))


def test_matrices_losses_and_the_advantage_of_the_own_site(tmp_path):
    found = study(tmp_path)
    assert len(found["cells"]) == 4
    drops = {item["model"]: item for item in found["drops"]}
    assert drops["a"]["value"] > drops["b"]["value"]
    assert drops["a"]["lo"] > 0
    deltas = {item["test"]: item for item in found["deltas"]}
    assert deltas["X"]["favors_own_site"] is True
    assert deltas["X"]["comparison"]["verdict"] == "superior"
    share = found["own_site"]
    assert share["places"] == 2
    assert share["lo"] <= share["share"] <= share["hi"]
    assert share["share"] == pytest.approx(share["own_site_better"] / 2)
    assert share["advantage"]["places"] == 2
    assert share["advantage"]["lo"] <= share["advantage"]["difference"]
    for name in ("matrix_a", "matrix_b", "deltas", "drops", "calibration"):
        assert (tmp_path / "out" / f"{name}.csv").is_file()


def test_numbers_instead_of_classes_are_refused(tmp_path):
    lines = ["model,train,test,path"]
    for seed, model in enumerate("ab"):
        write_file(tmp_path / f"{model}.parquet", seed=seed, is_regression=True)
        lines.append(f"{model},X,X,{model}.parquet")
    (tmp_path / "cells.csv").write_text("\n".join(lines))
    with pytest.raises(EvaluateError, match=r"a.parquet: transfer needs classes; got predicted"):
        judge_transfer(tmp_path / "cells.csv", tmp_path / "out", margin=0.02, alpha=0.05)


def test_models_that_never_meet_are_not_compared(tmp_path):
    lines = ["model,model_site,train,test,test_site,path"]
    for seed, model in enumerate("ab"):
        write_file(tmp_path / f"{model}.parquet", seed=seed)
        lines.append(f"{model},x,{model},x,x,{model}.parquet")
    (tmp_path / "cells.csv").write_text("\n".join(lines))
    judge_transfer(tmp_path / "cells.csv", tmp_path / "out", margin=0.02, alpha=0.05)
    found = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert (found["deltas"], found["own_site"]) == ([], None)
    assert found["sentences"] == [
        "No test set was judged under both models after the same adaptation."
    ]


def test_losses_of_few_patients_have_no_interval(tmp_path):
    found = study(tmp_path, num_patients=24)
    for drop in found["drops"]:
        assert (drop["lo"], drop["hi"]) == (None, None)
        assert "insufficient" in drop["note"]


def test_a_loss_from_a_perfect_score_has_no_interval_for_the_score_has_none(tmp_path):
    drops = {item["model"]: item for item in study(tmp_path, aX=50.0)["drops"]}
    assert drops["a"]["value"] > 0.2
    assert (drops["a"]["lo"], drops["a"]["hi"]) == (None, None)
    assert "insufficient" in drops["a"]["note"]
    assert drops["b"]["lo"] is not None
