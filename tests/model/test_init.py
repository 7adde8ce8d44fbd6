from math import sqrt

import pytest
import torch

from retfm_dist.model.mae import MaskedAutoencoder, init_weights


def test_two_models_of_one_seed_are_equal_whatever_was_drawn_before(tiny):
    states = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        model = MaskedAutoencoder(tiny)
        init_weights(model, 0)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_every_parameter_is_overwritten(tiny):
    model = MaskedAutoencoder(tiny)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    init_weights(model, 0)
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter).all(), name


def test_the_global_generator_is_left_alone(tiny):
    model = MaskedAutoencoder(tiny)
    before = torch.get_rng_state()
    init_weights(model, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_other_weights(build):
    one, other = build(seed=0), build(seed=1)
    assert not torch.equal(one.blocks[0].attn.qkv.weight, other.blocks[0].attn.qkv.weight)
    assert not torch.equal(one.cls_token, other.cls_token)


def test_seeds_of_all_64_bits_differ(build):
    weights = [build(seed=seed).cls_token for seed in (0, 2**32, 2**63, 2**64 - 1)]
    for index, weight in enumerate(weights):
        assert not any(torch.equal(weight, other) for other in weights[:index])


def test_layers_of_one_shape_differ_from_each_other(build):
    model = build()
    assert not torch.equal(model.blocks[0].mlp.fc1.weight, model.blocks[1].mlp.fc1.weight)


def test_depth_does_not_change_the_layers_that_models_share(build):
    shallow, deep = build(depth=1), build(depth=3)
    for name, value in shallow.state_dict().items():
        assert torch.equal(value, deep.state_dict()[name]), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_number_format_changes_the_rounding_only(tiny, build, dtype):
    model = MaskedAutoencoder(tiny).to(dtype)
    init_weights(model, 0)
    expected = build().state_dict()
    for name, value in model.state_dict().items():
        if name not in ("pos_embed", "decoder_pos_embed"):
            assert torch.equal(value, expected[name].to(dtype)), name


def test_values_follow_the_published_distributions(build):
    # Large enough that the sample's extent and spread pin the distribution.
    model = build(embed_dim=192, decoder_embed_dim=128)
    for weight, bound in [
        (model.blocks[0].attn.qkv.weight, sqrt(6 / (3 * 192 + 192))),
        (model.blocks[1].mlp.fc2.weight, sqrt(6 / (192 + 4 * 192))),
        (model.patch_embed.proj.weight, sqrt(6 / (192 + 8 * 8 * 3))),
        (model.decoder_pred.weight, sqrt(6 / (128 + 8 * 8 * 3))),
    ]:
        assert weight.abs().max() <= bound
        assert weight.abs().max() > 0.99 * bound
        assert weight.std().item() == pytest.approx(bound / sqrt(3), rel=0.03)
    assert model.patch_embed.proj.bias.abs().max() <= 1 / sqrt(8 * 8 * 3)
    for token in (model.cls_token, model.mask_token):
        assert token.std().item() == pytest.approx(0.02, rel=0.25)
    for name, value in model.named_parameters():
        if "norm" in name:
            assert torch.equal(value, torch.full_like(value, float(name.endswith("weight")))), name
        elif name.endswith("bias") and name != "patch_embed.proj.bias":
            assert not value.any(), name
