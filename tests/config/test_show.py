import subprocess
import sys

import pytest

from retfm_dist.config.folder import config_dir
from retfm_dist.config.load import check_config, load_config, read_config
from retfm_dist.config.schema import PretrainConfig
from retfm_dist.config.show import show_config
from retfm_dist.config.yaml_text import parse_yaml
from retfm_dist.evaluate.config import EvaluateConfig


@pytest.mark.parametrize("path", sorted(config_dir().glob("*.yaml")), ids=lambda path: path.stem)
def test_what_is_shown_reads_back_as_the_same_config(path):
    is_evaluation = path.name.startswith("eval_")
    schema = EvaluateConfig if is_evaluation else PretrainConfig
    expected = read_config(path, [], EvaluateConfig) if is_evaluation else load_config(path)
    shown = parse_yaml(show_config(path, [], schema), where="shown")
    assert check_config(shown, schema, where="shown") == expected


def test_every_value_has_its_source():
    path = config_dir() / "vitl_moorfields.yaml"
    overrides = ["optimizer.betas=[0.9, 0.99]", "run.seed=3"]
    shown = {}
    for line in show_config(path, overrides, PretrainConfig).splitlines():
        text, _, source = line.partition(" # ")
        shown[text.strip()] = source
    assert shown["seed: 3"] == "--set"
    assert shown["embed_dim: 1024"] == "vitl_moorfields.yaml"
    assert shown["zero_stage: 1"] == "default"
    assert shown["betas:"] == "--set"
    assert shown["dir: runs/vitl_moorfields"] == "default"
    assert shown["mlflow: true"] == "default"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--show", "eval_demo.yaml"], 0, "alpha: 0.05"),
        (["--show", "vitl_shanghai.yaml", "--set", "run.seed=9"], 0, "seed: 9"),
        ([], 0, '"$defs"'),
        (["--show", "vitl.yaml"], 1, "error: vitl.yaml: no such config file"),
        (["--show", "vitl_shanghai.yaml", "--set", "run.sed=9"], 1, "did you mean run.seed?"),
        (["--no-such-option"], 2, "No such option"),
    ],
)
def test_the_command(arguments, code, text):
    done = subprocess.run(
        [sys.executable, "-m", "retfm_dist.config", *arguments], capture_output=True, text=True
    )
    assert done.returncode == code
    assert text in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
