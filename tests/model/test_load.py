import argparse

import pytest
import torch
from safetensors.torch import save_file

from retfm_dist.config.schema import ModelConfig
from retfm_dist.errors import ModelError
from retfm_dist.model.load import load_weights
from retfm_dist.model.mae import MaskedAutoencoder, init_weights


def build(embed_dim=32, seed=0):
    model = MaskedAutoencoder(
        ModelConfig(
            img_size=32, patch_size=8, embed_dim=embed_dim, depth=2, num_heads=2,
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
    load_weights(model, write(tmp_path, kind))
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_another_size_is_refused(tmp_path):
    path = write(tmp_path, "safetensors")
    with pytest.raises(
        ModelError,
        match=r"not for this model.*of another shape: cls_token \(1, 1, 32\) instead of \(1, 1, 48\)",
    ):
        load_weights(build(embed_dim=48), path)


def test_an_encoder_alone_is_refused(tmp_path):
    encoder = {
        name: value
        for name, value in build().state_dict().items()
        if "decoder" not in name and name != "mask_token"
    }
    save_file(encoder | {"head.weight": torch.zeros(2, 32)}, tmp_path / "x.safetensors")
    with pytest.raises(
        ModelError, match=r"missing: .* and \d+ more; 1 unexpected: head\.weight.*use the full one"
    ):
        load_weights(build(), tmp_path / "x.safetensors")
