from pathlib import Path

import pytest

from retfm_dist.config.load import read_config, to_yaml
from retfm_dist.errors import ConfigError
from retfm_dist.evaluate.config import EvaluateConfig
from tests.fakes.evaluation import checked, evaluation

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("eval_*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_is_valid_and_has_a_header(path):
    config = read_config(path, [], EvaluateConfig)
    assert {model.kind for model in config.models} == {"export", "random_init", "handcrafted"}
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for heading in ("Command:", "Hardware:", "Time:", "Result:"):
        assert any(heading in line for line in header)


def test_photographs_of_real_patients_are_not_embedded_by_default(tmp_path):
    assert not checked(evaluation(tmp_path)).report.pictures
    assert not read_config(CONFIGS[1], [], EvaluateConfig).report.pictures
    assert CONFIGS[1].stem == "eval_fundus"


def test_the_resolved_config_reads_back(tmp_path):
    config = checked(evaluation(tmp_path))
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert read_config(tmp_path / "config.yaml", [], EvaluateConfig) == config


def task(**changes):
    label = {"column": "label_x", "positive": [1], "negative": [0], **changes.pop("label", {})}
    return {"id": "x", "title": "X", "table": "discs", "label": label, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": 5}, "fold: unknown key; did you mean folds?"),
        ({"folds": 1}, "folds: got 1"),
        ({"tasks": [task(table="disks")]}, r"x names the table 'disks'; there are \['discs'\]"),
        ({"tasks": [task(), task()]}, r"tasks: duplicate ids \['x'\]"),
        ({"tasks": [task(id="a/b")]}, "tasks.0.id: got 'a/b'"),
        ({"tasks": [task(label={"positive": [0, 1]})]}, r"\['0'\] are both negative and positive"),
        ({"tasks": [task(label={"positive": [1], "negative": [1.0]})]}, r"\['1'\] are both negative and positive"),
        ({"tasks": [task(label={"positive": ["1.0"], "negative": [True]})]}, r"\['1'\] are both negative and positive"),
        ({"tasks": [task(label={"negative": ["nan"]})]}, r"\['nan'\] mean a missing value in a table"),
        ({"models": [{"kind": "random_init", "id": "r", "like": "z", "seed": 0}]}, "r is like 'z', expected one of the exports"),
        ({"models": [{"kind": "expert", "id": "r"}]}, "models.0: "),
        ({"protocols": {"knn": None, "linear": None}}, "give knn, linear or both"),
        ({"protocols": {"knn": None, "linear": {"c_grid": [1.0, 0.1], "inner_folds": 2}}}, "c_grid must ascend without repetition"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        checked(evaluation(tmp_path, **changes))
