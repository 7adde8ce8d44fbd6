import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from retfm_dist.config.load import to_yaml
from retfm_dist.errors import EvaluateError, ExportError
from retfm_dist.evaluate.__main__ import app
from retfm_dist.evaluate.run import run_evaluation, validate
from tests.fakes.evaluation import (
    checked,
    evaluation,
    results,
)

FLOOR_ONLY = {"models": [{"kind": "handcrafted", "id": "floor"}]}


def test_every_model_is_judged_on_every_task_under_every_protocol(finished):
    found = results(finished)
    assert found.keys() == {
        (model, task, protocol)
        for model in ("tiny", "start", "floor")
        for task in ("bright", "noise")
        for protocol in ("knn_5", "linear")
    }
    assert {(auroc["n_images"], auroc["n_patients"]) for auroc in found.values()} == {(56, 28)}


def test_the_planted_effect_is_found_and_the_absent_one_is_not(finished):
    found = results(finished)
    for model in ("tiny", "floor"):
        assert found[model, "bright", "linear"]["lo"] > 0.5
        assert found[model, "noise", "linear"]["lo"] < 0.5


def test_no_patient_number_or_file_name_is_written_anywhere(finished):
    written = [path for path in (finished / "out").rglob("*") if path.is_file()]
    assert len(written) > 20
    for path in written:
        content = path.read_bytes()
        assert b"HOSP" not in content, path
        assert not re.search(rb"\d{3}_(left|right)", content), path


def test_a_mistake_leaves_an_earlier_evaluation_as_it_is(copied):
    before = {path: path.read_bytes() for path in (copied / "out").rglob("*") if path.is_file()}
    message = "task bright: too few patients with positive images.*got 14, expected at least 30"
    with pytest.raises(EvaluateError, match=message):
        run_evaluation(checked(evaluation(copied, folds=30)))
    assert {path: path.read_bytes() for path in before} == before


def outputs(root):
    paths = [path for path in (root / "out").rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in paths if "features" not in path.parts}


def test_a_run_that_breaks_off_leaves_the_earlier_evaluation(copied, monkeypatch):
    before = outputs(copied)
    with monkeypatch.context() as patched:
        patched.setattr("retfm_dist.evaluate.run.render", None)
        with pytest.raises(TypeError):
            run_evaluation(checked(evaluation(copied, name="Another")))
    assert outputs(copied) == before
    run_evaluation(checked(evaluation(copied, name="Another")))
    assert "Another" in (copied / "out" / "report.html").read_text()
    assert sorted(path.name for path in (copied / "out").iterdir() if path.name[0] == ".") == []


def test_neighbors_that_are_not_there_cost_no_earlier_evaluation(copied):
    before = outputs(copied)
    linear = {"c_grid": [0.01, 1.0], "inner_folds": 2}
    protocols = {"knn": {"k": [200], "temperature": 0.07}, "linear": linear}
    with pytest.raises(EvaluateError, match="200"):
        run_evaluation(checked(evaluation(copied, protocols=protocols)))
    assert outputs(copied) == before


def test_what_a_killed_run_left_is_cleared(copied):
    (copied / ".out.new" / "predictions").mkdir(parents=True)
    run_evaluation(checked(evaluation(copied)))
    assert not (copied / ".out.new").exists()


def test_a_missing_export_is_an_error_before_anything_is_written(copied):
    shutil.rmtree(copied / "export")
    before = sorted(path.name for path in (copied / "out").iterdir())
    with pytest.raises(ExportError, match="export: no exported model here"):
        run_evaluation(checked(evaluation(copied)))
    assert sorted(path.name for path in (copied / "out").iterdir()) == before


def test_validation_counts_without_computing_features(copied, monkeypatch):
    monkeypatch.setattr("retfm_dist.evaluate.encode.features.prepare_squares", None)
    facts = validate(checked(evaluation(copied)))
    assert [task["num_patients"] for task in facts["tasks"]] == [28, 28]
    assert [model["kind"] for model in facts["models"]] == ["export", "random_init", "handcrafted"]
    values = evaluation(copied, folds=30)
    with pytest.raises(EvaluateError, match="too few patients"):
        validate(checked(values))


@pytest.fixture
def config_path(copied):
    path = copied / "eval.yaml"
    path.write_text(to_yaml(checked(evaluation(copied, out=str(copied / "elsewhere")))))
    return path


def test_the_commands_print_results_and_the_report(config_path, copied):
    runner = CliRunner()
    result = runner.invoke(
        app, ["run", "--config", str(config_path), "--set", "folds=3", "--out", str(copied / "out")]
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(copied / "out" / "report.html")
    again = runner.invoke(app, ["report", "--out", str(copied / "out"), "--json"])
    facts = json.loads(again.stdout)
    assert facts["report"] == str(copied / "out" / "report.html")
    assert len(facts["results"]) == 12
    checked_facts = runner.invoke(app, ["validate", "--config", str(config_path), "--json"])
    assert len(json.loads(checked_facts.stdout)["tasks"]) == 2
    shown = runner.invoke(app, ["validate", "--config", str(config_path)])
    assert "handcrafted" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--config", "nowhere.yaml"], "error: nowhere.yaml: no such config file"),
        (["report", "--out", "nowhere"], "error: nowhere: no evaluation here"),
    ],
)
def test_a_mistake_is_one_line_and_code_1(arguments, message):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_bad_usage_is_code_2():
    assert CliRunner().invoke(app, ["run"]).exit_code == 2
