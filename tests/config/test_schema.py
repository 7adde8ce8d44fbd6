"""The files in configs/ are complete, and hold what their names promise."""

from pathlib import Path

import pytest

from retfm_dist.config.json_schema import json_schema
from retfm_dist.config.load import load_config, to_yaml
from retfm_dist.config.schema import PretrainConfig
from retfm_dist.config.yaml_text import parse_yaml

CONFIGS = Path(__file__).parents[2] / "configs"
PRETRAIN = sorted(path for path in CONFIGS.glob("*.yaml") if not path.name.startswith("eval_"))


@pytest.mark.parametrize("path", PRETRAIN, ids=lambda path: path.stem)
def test_every_config_is_complete(path):
    resolved = parse_yaml(to_yaml(load_config(path)), where="resolved")
    written = parse_yaml(path.read_text(), where=path)
    assert resolved["run"].pop("dir") == f"runs/{path.stem}"
    assert written == resolved, "a shipped config spells every field out"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_has_a_header(path):
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    text = "\n".join(header)
    for heading in ("Command:", "Hardware:", "Time:", "Result:"):
        assert heading in text
    assert "TODO" not in text


@pytest.mark.parametrize("size", ["vitl", "vitb"])
def test_the_twin_configs_differ_in_the_shard_set_alone(size):
    moorfields = load_config(CONFIGS / f"{size}_moorfields.yaml").model_dump(mode="json")
    shanghai = load_config(CONFIGS / f"{size}_shanghai.yaml").model_dump(mode="json")
    assert moorfields["data"].pop("shards") == "shards/moorfields"
    assert shanghai["data"].pop("shards") == "shards/shanghai"
    # The run directory is named after the file; the files themselves do not set it.
    del moorfields["run"]["dir"], shanghai["run"]["dir"]
    assert moorfields == shanghai


def test_the_large_config_holds_the_published_recipe():
    config = load_config(CONFIGS / "vitl_moorfields.yaml")
    steps_per_epoch = 904_170 // 1792
    assert steps_per_epoch == 504
    resolved = config.schedule.duration.to_steps(
        steps_per_epoch=steps_per_epoch, global_batch_size=config.schedule.global_batch_size
    )
    assert resolved == 403_200
    assert config.lr == pytest.approx(1.05e-3)
    assert config.optimizer.betas == (0.9, 0.95)
    assert config.optimizer.weight_decay == 0.05
    assert config.optimizer.gradient_clipping == 0.0
    assert config.model.num_patches == 196
    assert (config.model.embed_dim, config.model.depth, config.model.num_heads) == (1024, 24, 16)
    assert config.model.decoder_embed_dim == 512
    assert config.model.mask_ratio == 0.75
    assert config.model.norm_pix_loss


def test_the_editor_schema_is_current():
    stored = (CONFIGS / "pretrain.schema.json").read_text()
    assert stored == json_schema(PretrainConfig), "run `make schema`"
