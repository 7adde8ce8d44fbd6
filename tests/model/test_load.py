import argparse

import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch.nn.functional import interpolate

from retfm_dist.config.schema import ModelConfig
from retfm_dist.errors import ModelError
from retfm_dist.model.load import start_from
from retfm_dist.model.mae import MaskedAutoencoder, init_weights
from retfm_dist.model.preprocessing import normalize_pixels


def build(embed_dim=32, seed=0, img_size=32, patch_size=8):
    model = MaskedAutoencoder(
        ModelConfig(
            img_size=img_size, patch_size=patch_size, embed_dim=embed_dim, depth=2, num_heads=2,
            decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2, mask_ratio=0.75, norm_pix_loss=True,
        )
    )  # fmt: skip
    init_weights(model, seed)
    return model


def write(tmp_path, kind):
    weights = build(seed=1).state_dict()
    path = tmp_path / f"weights.{'safetensors' if kind == 'safetensors' else 'pth'}"
    match kind:
        case "safetensors":
            save_file(weights, path)
        case "plain":
            torch.save(dict(weights), path)
        case "published":
            torch.save(
                {"model": dict(weights), "epoch": 800, "args": argparse.Namespace(lr=1e-3)}, path
            )
    return path


@pytest.mark.parametrize("kind", ["safetensors", "plain", "published"])
def test_every_published_form_loads(tmp_path, kind):
    model, source = build(seed=0), build(seed=1)
    assert not torch.equal(model.decoder_pred.weight, source.decoder_pred.weight)
    report = start_from(model, write(tmp_path, kind), seed=0)
    assert report.words == f"{len(source.state_dict())} tensors loaded"
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_another_size_is_refused(tmp_path):
    path = write(tmp_path, "safetensors")
    with pytest.raises(
        ModelError,
        match=r"not for this model.*of another shape: cls_token \(1, 1, 32\) instead of \(1, 1, 48\)",
    ):
        start_from(build(embed_dim=48), path, seed=0)


def encoder_of(model):
    return {
        name: value
        for name, value in model.state_dict().items()
        if "decoder" not in name and name != "mask_token"
    }


def start(tmp_path, weights, model, **metadata):
    save_file(weights, tmp_path / "x.safetensors", metadata)
    return start_from(model, tmp_path / "x.safetensors", seed=7)


def test_an_encoder_alone_starts_with_the_decoder_of_the_seed(tmp_path, caplog):
    caplog.set_level("INFO")
    source, model, seeded = build(seed=1), build(seed=2), build(seed=7)
    encoder = encoder_of(source)
    report = start(tmp_path, encoder | {"head.weight": torch.zeros(2, 32)}, model)
    for name, tensor in model.state_dict().items():
        expected = source if name in encoder else seeded
        assert torch.equal(tensor, expected.state_dict()[name]), name
    assert report.num_loaded == len(encoder)
    assert set(report.random) == model.state_dict().keys() - encoder.keys()
    assert report.ignored == ("head.weight",)
    assert "no decoder in the file: its 20 tensors are random; left out: head.weight" in caplog.text


def test_a_timm_encoder_is_one(tmp_path):
    timm_model = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=5
    )
    model = build()
    report = start(tmp_path, timm_model.state_dict(), model)
    assert report.ignored == ("head.weight", "head.bias")
    assert torch.equal(model.pos_embed, timm_model.pos_embed)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        features = timm_model.eval().forward_features(
            normalize_pixels(images.permute(0, 2, 3, 1), dtype=torch.float32).permute(0, 3, 1, 2)
        )
    torch.testing.assert_close(model.eval().forward_features(images).detach(), features)


@pytest.mark.parametrize("img_size", [64, 24])
def test_waves_of_another_image_size_are_computed_anew(tmp_path, img_size):
    model = build(img_size=img_size)
    expected = {
        name: model.get_parameter(name).clone() for name in ("pos_embed", "decoder_pos_embed")
    }
    report = start(tmp_path, build(seed=1).state_dict(), model)
    assert report.recomputed == ("pos_embed", "decoder_pos_embed")
    assert report.interpolated == ()
    for name, table in expected.items():
        assert torch.equal(model.get_parameter(name), table)


def test_learned_positions_are_interpolated_and_the_class_token_keeps_its_own(tmp_path):
    weights = encoder_of(build(seed=1))
    weights["pos_embed"] = torch.randn(1, 17, 32, generator=torch.Generator().manual_seed(0))
    model = build(img_size=64)
    report = start(tmp_path, weights, model)
    assert (report.recomputed, report.interpolated) == ((), ("pos_embed",))
    grid = weights["pos_embed"][0, 1:].T.reshape(1, 32, 4, 4)
    expected = interpolate(grid, size=(8, 8), mode="bicubic", antialias=True)
    found = model.pos_embed.detach()
    torch.testing.assert_close(found[0, 1:].T.reshape(1, 32, 8, 8), expected)
    assert torch.equal(found[:, 0], weights["pos_embed"][:, 0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: w.pop("blocks.1.mlp.fc2.bias"), "1 missing: blocks.1.mlp.fc2.bias"),
        (lambda w: w.pop("mask_token"), "1 missing: mask_token"),
        (lambda w: w.update({"fc_norm.weight": torch.ones(32)}), "1 unexpected: fc_norm.weight"),
        (lambda w: w.update({"pos_embed": torch.ones(1, 16, 32)}), r"pos_embed \(1, 16, 32\)"),
    ],
)
def test_nothing_is_left_unloaded_in_silence(tmp_path, spoil, message):
    weights = build().state_dict()
    spoil(weights)
    with pytest.raises(ModelError, match=message):
        start(tmp_path, weights, build())


def test_another_patch_size_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"patch_embed.proj.weight \(32, 3, 8, 8\) instead of"):
        start(tmp_path, build().state_dict(), build(img_size=64, patch_size=16))


def test_another_number_of_heads_is_refused_where_the_file_states_it(tmp_path):
    start(tmp_path, build().state_dict(), build(), num_heads="2")
    with pytest.raises(ModelError, match="got 4 attention heads, expected 2, as model.num_heads"):
        start(tmp_path, build().state_dict(), build(), num_heads="4")
