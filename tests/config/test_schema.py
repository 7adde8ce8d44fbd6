"""The files in configs/ are complete, and hold what their names promise."""

from pathlib import Path

import pytest

from retfm_dist.config.load import check_config, load_config
from retfm_dist.config.schema import ModelConfig
from retfm_dist.config.yaml_text import parse_yaml
from retfm_dist.errors import ConfigError
from tests.fakes.runs import TINY

CONFIGS = Path(__file__).parents[2] / "configs"
PRETRAIN = sorted(path for path in CONFIGS.glob("*.yaml") if not path.name.startswith("eval_"))


@pytest.mark.parametrize("path", PRETRAIN, ids=lambda path: path.stem)
def test_a_config_states_what_has_no_default_and_what_deviates_from_it(path):
    config = load_config(path)
    assert config.run.dir == Path(f"runs/{path.stem}")
    for section, written in parse_yaml(path.read_text(), where=path).items():
        part = getattr(config, section)
        for name in written:
            field = type(part).model_fields[name]
            default = field.get_default(call_default_factory=True)
            assert field.is_required() or getattr(part, name) != default, f"{section}.{name}"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_has_a_header(path):
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    text = "\n".join(header)
    for heading in ("Command:", "Hardware:", "Time:", "Result:"):
        assert heading in text
    assert "TODO" not in text


@pytest.mark.parametrize("size", ["vitl"])
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 7}, "img_size 32 is not a multiple of patch_size 7"),
        ({"patch_size": 0}, "patch_size"),
        ({"num_heads": 5}, "num_heads 5 does not divide embed_dim 24"),
        ({"decoder_num_heads": 3}, "decoder_num_heads 3 does not divide decoder_embed_dim 16"),
        ({"embed_dim": 18}, "embed_dim 18 is not a multiple of 4"),
        ({"mask_ratio": 0.0}, "mask_ratio"),
        ({"mask_ratio": 1e-17}, "keeps 16 of 16 patches"),
        ({"mask_ratio": 0.99}, "keeps 0 of 16 patches"),
        ({"mask_ratio": 1.0}, "mask_ratio"),
        ({"mask_ratio": -0.5}, "mask_ratio"),
    ],
)
def test_contradicting_dimensions_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_config({**TINY, **changes}, ModelConfig, where="model")


@pytest.mark.parametrize(
    ("img_size", "patch_size", "mask_ratio", "kept"),
    # 100 * (1 - 0.9) is 9.999999999999998 in floating point; the published code cuts it to 9.
    [(224, 16, 0.75, 49), (224, 16, 0.85, 29), (224, 14, 0.75, 64), (32, 8, 0.75, 4), (160, 16, 0.9, 9)],
)  # fmt: skip
def test_kept_counts_are_the_published_ones(img_size, patch_size, mask_ratio, kept):
    sizes = {"img_size": img_size, "patch_size": patch_size, "mask_ratio": mask_ratio}
    assert ModelConfig(**{**TINY, **sizes}).num_kept == kept


def test_a_batch_that_does_not_divide_among_the_ranks_is_refused():
    config = load_config(CONFIGS / "fundus_cpu.yaml")  # 32 images, micro-batches of 16
    for world_size, grad_accum_steps in ((1, 2), (2, 1)):
        config.check_world(world_size)
        assert config.grad_accum_steps(world_size) == grad_accum_steps
    with pytest.raises(ConfigError, match="the batch does not divide; got 32 on 3 ranks"):
        config.check_world(3)
