import json
from pathlib import Path

import pytest

from retfm_dist.config.json_schema import json_schema
from retfm_dist.config.load import config_hash, find_config, load_config, to_yaml
from retfm_dist.config.schema import PretrainConfig
from retfm_dist.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"


def write(tmp_path: Path, *replacements: tuple[str, str]) -> Path:
    text = (CONFIGS / "vitl_moorfields.yaml").read_text()
    for old, new in replacements:
        assert old in text, f"{old!r} is not in the config"
        text = text.replace(old, new)
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return path


def test_scientific_notation_is_a_number(tmp_path):
    path = write(tmp_path, ("base_lr: 1.5e-4", "base_lr: 1e-4"))
    assert load_config(path).optimizer.base_lr == 1e-4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weight_decay:", "wieght_decay:", r"x\.yaml: .*optimizer\.wieght_decay: unknown key; did you mean optimizer\.weight_decay\?"),
        ("optimizer:", "optimiser:", r"optimiser: unknown key; did you mean optimizer\?"),
        ("base_lr: 1.5e-4", 'base_lr: "1.5e-4"', r"optimizer\.base_lr: got '1\.5e-4' \(text\)"),
        ("depth: 24", "depth: 24.5", r"model\.depth: got 24\.5"),
        ("depth: 24", "depth: -1", r"model\.depth: got -1"),
        ("depth: 24", "depth: 24\n  depth: 12", r"x\.yaml line \d+: .*key 'depth' is a duplicate; first in line \d+"),
        ("  depth: 24\n", "", r"model\.depth: missing"),
        ("norm_pix_loss: true", "norm_pix_loss: yes", r"model\.norm_pix_loss: got 'yes' \(text\)"),
        ("patch_size: 16", "patch_size: 15", r"img_size 224 is not a multiple of patch_size 15"),
        ("num_heads: 16", "num_heads: 15", r"num_heads 15 does not divide embed_dim 1024"),
        ("embed_dim: 1024", "embed_dim: 1008\n  num_heads: 16", r"is a duplicate"),
        ("mask_ratio: 0.75", "mask_ratio: 0.999", r"keeps 0 of 196 patches; at least one must be kept"),
        ("duration: 800 epochs", "duration: 800", r"schedule\.duration"),
        ("duration: 800 epochs", "duration: 800 days", r"schedule\.duration: got '800 days'; write a number and a unit"),
        ("duration: 800 epochs", "duration: 1.5 steps", r"schedule\.duration: got '1\.5 steps'"),
        ("crop_scale: [0.2, 1.0]", "crop_scale: [1.0, 0.2]", r"crop_scale must be two ascending numbers"),
        ("crop_scale: [0.2, 1.0]", "crop_scale: [0.2]", r"data\.crop_scale"),
        ("micro_batch_size: 224", "micro_batch_size: 225", r"global_batch_size 1792 is not a multiple of micro_batch_size 225"),
        ("precision: bf16", "precision: bf16\n  zero_stage: 0", r"zero_stage 0 is inexact in bf16"),
        (
            "precision: bf16",
            "precision: bf16\n  zero_stage: 3\n  compile: true",
            r"compile needs whole weights; zero_stage 3 shards them",
        ),
        ("precision: bf16", "precision: bf16\n  zero_stage: 4", r"engine\.zero_stage: got 4"),
        ("seed: 0", "seed: 0\n  seed: [", r"x\.yaml line \d+: not valid YAML"),
        ("base_lr: 1.5e-4", "base_lr: .nan", r"optimizer\.base_lr: got nan"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_path(tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        load_config(write(tmp_path, (old, new)))


def test_embedding_width_must_suit_the_sine_table(tmp_path):
    path = write(
        tmp_path, ("embed_dim: 1024\n", "embed_dim: 1026\n"), ("num_heads: 16\n", "num_heads: 2\n")
    )
    with pytest.raises(ConfigError, match="embed_dim 1026 is not a multiple of 4"):
        load_config(path)


def test_all_mistakes_are_reported_together(tmp_path):
    path = write(tmp_path, ("depth: 24", "depth: x"), ("weight_decay:", "wieght_decay:"))
    with pytest.raises(ConfigError, match="(?s)model.depth.*wieght_decay"):
        load_config(path)


def test_overrides_are_read_as_yaml_and_the_last_wins(tmp_path):
    overrides = [
        "optimizer.base_lr=1e-3",
        "schedule.duration=10 steps",
        "schedule.duration=20 steps",
        "run.dir=a/b",
    ]
    config = load_config(write(tmp_path), overrides)
    assert config.optimizer.base_lr == 1e-3
    assert str(config.schedule.duration) == "20 steps"
    assert config.run.dir == Path("a/b")
    assert config.run.name == "b"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.base_lr", "--set optimizer.base_lr: not an override"),
        ("=3", "not an override"),
        ("optimizer..lr=3", "not an override"),
        ("run.seed.x=3", "seed is not a section"),
        ("optimizer.lr=3", "optimizer.lr: unknown key"),
        ("optimzer.base_lr=3", "optimzer: unknown key; did you mean optimizer"),
    ],
)
def test_a_mistaken_override_is_refused(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path), [override])


def test_the_run_directory_follows_the_file_name(tmp_path):
    assert load_config(write(tmp_path)).run.dir == Path("runs/x")


def test_the_resolved_config_reads_back_equal(tmp_path):
    config = load_config(write(tmp_path))
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(to_yaml(config))
    again = load_config(resolved)
    assert again == config
    assert config_hash(again) == config_hash(config)


def test_the_hash_follows_every_value(tmp_path):
    config = load_config(write(tmp_path))
    assert config_hash(load_config(write(tmp_path), ["run.seed=1"])) != config_hash(config)


@pytest.mark.parametrize("content", ["", "- 1\n", "text\n"])
def test_a_file_that_holds_no_sections_is_refused(tmp_path, content):
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match="not a config"):
        load_config(path)


def test_a_missing_or_binary_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the config file"):
        load_config(tmp_path / "absent.yaml")
    binary = tmp_path / "x.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a text file in UTF-8"):
        load_config(binary)


def test_a_value_outside_yaml_core_is_refused(tmp_path):
    path = write(tmp_path, ("seed: 0", "seed: !!binary aGk="))
    with pytest.raises(ConfigError, match="not a YAML scalar, list or mapping|not valid YAML"):
        load_config(path)


def test_a_config_is_found_by_path_or_by_name(tmp_path):
    path = write(tmp_path)
    assert find_config(str(path)) == path
    assert find_config("vitl_moorfields.yaml") == CONFIGS / "vitl_moorfields.yaml"
    with pytest.raises(
        ConfigError, match=r"vitl\.yaml: no such config file.*one of .*did you mean vitl_"
    ):
        find_config("vitl.yaml")


def test_the_json_schema_describes_every_field():
    schema = json.loads(json_schema(PretrainConfig))
    for definition in schema["$defs"].values():
        for name, field in definition.get("properties", {}).items():
            assert field.get("description"), name


def test_accumulation_fills_the_global_batch(tmp_path):
    config = load_config(write(tmp_path))
    assert [config.grad_accum_steps(n) for n in (1, 2, 4, 8)] == [8, 4, 2, 1]
    with pytest.raises(ConfigError, match="1792 on 3 ranks.*= 672"):
        config.check_world(3)
