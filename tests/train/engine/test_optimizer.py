import pytest
from torch import nn

from retfm_dist.errors import TrainError
from retfm_dist.train.engine.optimizer import build_optimizer, parameter_groups
from tests.fakes.training import TinyMae, tiny_config


def names_of(model: nn.Module, group: dict) -> set[str]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)] for parameter in group["params"]}


def test_tokens_and_matrices_decay_and_biases_and_norms_do_not():
    model = TinyMae()
    decayed, spared = parameter_groups(model, 0.05)
    assert decayed["weight_decay"] == 0.05
    assert spared["weight_decay"] == 0.0
    assert names_of(model, decayed) == {
        "cls_token", "mask_token", "encoder.weight", "decoder.weight",
    }  # fmt: skip
    assert names_of(model, spared) == {"encoder.bias", "decoder.bias", "norm.weight", "norm.bias"}


def test_groups_of_the_real_model():
    from retfm_dist.config.schema import ModelConfig
    from retfm_dist.model.mae import MaskedAutoencoder

    config = ModelConfig(
        img_size=32, patch_size=16, embed_dim=16, depth=1, num_heads=2, decoder_embed_dim=8,
        decoder_depth=1, decoder_num_heads=2, mask_ratio=0.75, norm_pix_loss=True,
    )  # fmt: skip
    model = MaskedAutoencoder(config)
    decayed, spared = (names_of(model, group) for group in parameter_groups(model, 0.05))
    assert {"cls_token", "mask_token", "patch_embed.proj.weight"} <= decayed
    assert all(name.endswith(".weight") and "norm" not in name for name in decayed - {
        "cls_token", "mask_token",
    })  # fmt: skip
    assert all(name.endswith(".bias") or "norm" in name for name in spared)
    assert not {"pos_embed", "decoder_pos_embed"} & (decayed | spared)
    assert len(decayed | spared) == len(list(model.parameters())) - 2


def test_optimizer_takes_the_config(tmp_path):
    config = tiny_config(tmp_path).optimizer
    optimizer = build_optimizer(TinyMae(), config)
    assert optimizer.defaults["betas"] == (0.9, 0.95)
    assert optimizer.defaults["eps"] == 1e-8
    assert optimizer.defaults["fused"]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]


def test_an_empty_group_is_left_out():
    assert len(parameter_groups(nn.LayerNorm(3), 0.05)) == 1


def test_a_model_without_trainable_parameters_is_refused():
    with pytest.raises(TrainError, match="no trainable parameter"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), 0.05)
