import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from retfm_dist.config.schema import ModelConfig
from retfm_dist.model.flops import count_flops, train_flops_per_image
from retfm_dist.model.mae import MaskedAutoencoder
from retfm_dist.model.sizes import MAE_SIZES

# GFLOP forward and backward of ViT-L/16, 224 px, 75 %, worked out by hand.
BY_HAND = {
    "patch_embed": (0.3083, 0.3083),
    "encoder_qkv": (7.5497, 15.0995),
    "encoder_attention": (0.2458, 0.4915),
    "encoder_proj": (2.5166, 5.0332),
    "encoder_fc1": (10.0663, 20.1327),
    "encoder_fc2": (10.0663, 20.1327),
    "decoder_embed": (0.0524, 0.1049),
    "decoder_qkv": (2.4788, 4.9577),
    "decoder_attention": (0.6358, 1.2717),
    "decoder_proj": (0.8263, 1.6526),
    "decoder_fc1": (3.3051, 6.6102),
    "decoder_fc2": (3.3051, 6.6102),
    "decoder_pred": (0.1549, 0.3099),
}


def test_vit_l_costs_what_was_worked_out_by_hand():
    parts = count_flops(MAE_SIZES["L"])
    assert list(parts) == list(BY_HAND)
    for name, (forward, backward) in BY_HAND.items():
        assert parts[name].forward / 1e9 == pytest.approx(forward, abs=6e-5), name
        assert parts[name].backward / 1e9 == pytest.approx(backward, abs=6e-5), name
    assert sum(part.forward for part in parts.values()) / 1e9 == pytest.approx(41.512, abs=6e-4)
    assert sum(part.backward for part in parts.values()) / 1e9 == pytest.approx(82.715, abs=6e-4)
    assert train_flops_per_image(MAE_SIZES["L"]) / 1e9 == pytest.approx(124.226, abs=6e-4)


def test_this_model_does_less_than_the_published_one():
    actual, reference = (
        train_flops_per_image(MAE_SIZES["L"], work=work) for work in ("actual", "reference")
    )
    assert 0.995 < actual / reference < 0.996


@pytest.mark.parametrize("changes", [{}, {"mask_ratio": 0.5}, {"patch_size": 4, "embed_dim": 48}])
def test_the_count_of_a_training_step_is_what_pytorch_counts(tiny, changes):
    config = ModelConfig(**{**tiny.model_dump(), **changes})
    model = MaskedAutoencoder(config)
    for block in [*model.blocks, *model.decoder_blocks]:
        block.attn.fused_attn = False  # PyTorch's counter does not know the CPU's fused kernel.
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    with FlopCounterMode(display=False) as counter:
        model(images, torch.rand(2, model.num_patches)).loss.backward()
    assert counter.get_total_flops() == 2 * train_flops_per_image(config, work="actual")
