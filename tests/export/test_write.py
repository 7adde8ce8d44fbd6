import json
import subprocess
import sys

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

from retfm_dist.config.load import check_config, to_yaml
from retfm_dist.config.schema import ModelConfig, PretrainConfig
from retfm_dist.durable import sha256_file
from retfm_dist.errors import CheckpointError, ExportError
from retfm_dist.export.load import load_encoder, verify_export
from retfm_dist.export.write import write_export
from retfm_dist.model.load import start_from
from retfm_dist.model.mae import MaskedAutoencoder
from retfm_dist.model.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from tests.fakes.runs import FINGERPRINT, TINY, pretrain_config, trained_model, write_run


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    write_run(root / "run")
    return write_export(root / "run", root / "exports" / "tiny")


@pytest.fixture
def images():
    return torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )


def normalized(images):
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (images.float() / 255 - mean) / std


def patch_mean(model, images):
    return model.forward_features(images)[:, 1:].mean(dim=1)


@torch.no_grad()
def test_timm_loads_it_and_gives_the_features_of_the_masked_autoencoder(export, images):
    model = timm.create_model(f"local-dir:{export}", pretrained=True).eval()
    wanted = patch_mean(trained_model(6), images)
    assert wanted.std() > 0.1
    torch.testing.assert_close(model(normalized(images)), wanted, rtol=0, atol=1e-5)
    config = timm.data.resolve_model_data_config(model)
    assert config["input_size"] == (3, 32, 32)
    assert tuple(config["mean"]) == IMAGENET_MEAN
    assert config["crop_pct"] == 1.0


@torch.no_grad()
def test_our_loader_gives_the_same_features_as_timm(export, images):
    loaded = load_encoder(export)
    theirs = timm.create_model(f"local-dir:{export}", pretrained=True).eval()
    assert loaded.preprocessing.img_size == 32
    assert not loaded.model.training
    assert torch.equal(loaded.model(normalized(images)), theirs(normalized(images)))


def test_timm_adds_a_head_for_fine_tuning(export):
    model = timm.create_model(f"local-dir:{export}", pretrained=True, num_classes=5)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 5)
    assert torch.equal(model.norm.weight, trained_model(6).norm.weight)


def test_retfounds_loader_misses_exactly_head_and_fc_norm(export):
    """The published fine-tuning code loads with strict=False and then asserts these four keys."""
    dimensions = {
        name: TINY[name] for name in ("img_size", "patch_size", "embed_dim", "depth", "num_heads")
    }
    model = VisionTransformer(**dimensions, num_classes=5, global_pool="avg")
    checkpoint = torch.load(export / "retfound.pth", map_location="cpu", weights_only=True)
    result = model.load_state_dict(checkpoint["model"], strict=False)
    assert set(result.missing_keys) == {
        "head.weight",
        "head.bias",
        "fc_norm.weight",
        "fc_norm.bias",
    }
    assert torch.equal(model.blocks[1].attn.qkv.weight, trained_model(6).blocks[1].attn.qkv.weight)


@pytest.mark.parametrize("name", ["retfound.pth", "mae.safetensors"])
def test_pre_training_can_start_from_the_full_state_dict(export, name):
    model = MaskedAutoencoder(ModelConfig(**TINY))
    start_from(model, export / name, seed=0)
    for key, tensor in trained_model(6).state_dict().items():
        assert torch.equal(model.state_dict()[key], tensor)
        assert model.state_dict()[key].dtype == torch.float32


def test_half_precision_weights_are_exported_in_fp32(tmp_path):
    half = {name: tensor.bfloat16() for name, tensor in trained_model(1).state_dict().items()}
    write_run(tmp_path / "run", steps=[3], weights=half)
    out = write_export(tmp_path / "run", tmp_path / "out")
    for name in ("model.safetensors", "mae.safetensors"):
        assert {tensor.dtype for tensor in load_file(out / name).values()} == {torch.float32}


def test_the_provenance_names_every_file_and_the_run(export):
    provenance = json.loads((export / "provenance.json").read_text())
    assert set(provenance["files"]) == {path.name for path in export.iterdir()} - {
        "provenance.json"
    }
    assert provenance["files"]["model.safetensors"] == sha256_file(export / "model.safetensors")
    assert provenance["step"] == 6
    assert provenance["images_seen"] == 384
    assert provenance["data_fingerprint"] == FINGERPRINT
    assert len(provenance["config_hash"]) == 64
    assert {"torch", "timm", "retfm_dist"} <= provenance["versions"].keys()
    verify_export(export)


def test_files_have_the_permissions_of_plain_files(export, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    assert {path.stat().st_mode for path in export.iterdir()} == {plain.stat().st_mode}


def test_an_earlier_step_can_be_asked_for(tmp_path):
    write_run(tmp_path / "run")
    out = write_export(tmp_path / "run", tmp_path / "out", step=3)
    weights = load_file(out / "model.safetensors")
    assert torch.equal(weights["norm.bias"], trained_model(3).norm.bias)


def test_the_running_mean_takes_the_place_of_the_weights_it_is_of(tmp_path):
    frozen = ("pos_embed", "decoder_pos_embed")
    means = {
        name: tensor.detach().clone() + 1
        for name, tensor in trained_model(6).state_dict().items()
        if name not in frozen
    }
    write_run(tmp_path / "run", average=means)
    last = write_export(tmp_path / "run", tmp_path / "last")
    out = write_export(tmp_path / "run", tmp_path / "out", average=True)
    before, after = (load_file(path / "mae.safetensors") for path in (last, out))
    for name, tensor in before.items():
        assert torch.equal(after[name], means.get(name, tensor)), name
    for path, words in ((last, "last"), (out, "running mean")):
        assert json.loads((path / "provenance.json").read_text())["weights"] == words
    assert "| weights | running mean of decay" in (out / "README.md").read_text()
    assert "running mean" not in (last / "README.md").read_text()


def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path):
    write_run(tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "step_00000006" / "manifest.json").unlink()
    out = write_export(tmp_path / "run", tmp_path / "out")
    assert json.loads((out / "provenance.json").read_text())["step"] == 3


def remove_checkpoints(run_dir):
    for path in (run_dir / "checkpoints").rglob("*"):
        if path.is_file():
            path.unlink()


@pytest.mark.parametrize(
    ("spoil", "options", "error", "message"),
    [
        (remove_checkpoints, {}, CheckpointError, "all 2 checkpoints are damaged"),
        (lambda run: (run / "config.yaml").unlink(), {}, ExportError, "no config; expected config.yaml"),
        (lambda run: None, {"step": 5}, CheckpointError, "no checkpoint of step 5; expected one of step_00000003, step_00000006"),
        (lambda run: None, {"average": True}, CheckpointError, "no running mean of the weights; .*optimizer.ema_decay"),
        (lambda run: run.rename(run.with_name("elsewhere")), {}, ExportError, "no such run directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_leaves_nothing_behind(tmp_path, spoil, options, error, message):
    write_run(tmp_path / "run")
    spoil(tmp_path / "run")
    with pytest.raises(error, match=message):
        write_export(tmp_path / "run", tmp_path / "out" / "x", **options)
    assert not list((tmp_path).glob("out/*"))


def test_a_run_without_checkpoint_is_one_clear_error(tmp_path):
    write_run(tmp_path / "run", steps=[])
    with pytest.raises(CheckpointError, match="no checkpoint; expected checkpoints/step_"):
        write_export(tmp_path / "run", tmp_path / "out")
    with pytest.raises(
        CheckpointError, match="no checkpoint of step 3; expected a run with checkpoints"
    ):
        write_export(tmp_path / "run", tmp_path / "out", step=3)


def test_an_existing_export_is_not_overwritten(tmp_path, export):
    write_run(tmp_path / "run")
    before = (export / "README.md").read_bytes()
    with pytest.raises(ExportError, match="already exists.*choose another --out"):
        write_export(tmp_path / "run", export)
    assert (export / "README.md").read_bytes() == before


def without_a_tensor(weights):
    del weights["norm.bias"]


def with_a_nan(weights):
    weights["norm.bias"][3] = torch.nan


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_a_tensor, "not those of the configured model; got 1 missing: norm.bias, expected 50"),
        (with_a_nan, "weights are not finite; got norm.bias; export an earlier step"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(tmp_path, spoil, message):
    weights = {name: t.detach().clone() for name, t in trained_model(0).state_dict().items()}
    spoil(weights)
    write_run(tmp_path / "run", steps=[3], weights=weights)
    with pytest.raises(ExportError, match=message):
        write_export(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def run_cli(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "retfm_dist.export", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


def test_the_command_exits_with_one_line_and_code_1(tmp_path):
    write_run(tmp_path / "run", steps=[])
    result = run_cli(tmp_path / "run", "--out", tmp_path / "out")
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_command_prints_the_export(tmp_path):
    write_run(tmp_path / "run")
    result = run_cli(tmp_path / "run", "--out", tmp_path / "out", "--step", 3)
    assert (result.returncode, result.stdout.strip()) == (0, str(tmp_path / "out"))


def test_no_path_address_or_text_of_the_config_leaves_the_hospital(tmp_path):
    secret = "Kowalski-hospital-7731"
    config = pretrain_config(tmp_path / "run", shards=f"/mnt/{secret}/shards").model_dump(
        mode="json"
    )
    config["run"]["init_from"] = f"/home/{secret}/start.pth"
    config["tracking"] = {"mlflow": True, "uri": f"https://{secret}:5000", "experiment": secret}
    write_run(tmp_path / "run")
    resolved = check_config(config, PretrainConfig, where="test")
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(resolved))
    out = write_export(tmp_path / "run", tmp_path / "out")
    for path in out.iterdir():
        assert secret.encode() not in path.read_bytes(), path.name
    experiment = json.loads((out / "provenance.json").read_text())["experiment"]
    assert experiment["optimizer.base_lr"] == 1e-3
    assert not any("/" in str(value) for value in experiment.values())
