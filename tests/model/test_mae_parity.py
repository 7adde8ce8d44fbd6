"""The model gives what the published mathematics gives."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from retfm_dist.model.mae import MaskedAutoencoder
from retfm_dist.model.sizes import MAE_SIZES
from tests.fakes.published_mae import published_mae

CASES = [
    pytest.param({}, id="normalized"),
    pytest.param({"norm_pix_loss": False}, id="plain-pixels"),
    pytest.param({"mask_ratio": 0.85}, id="ratio-0.85"),
    pytest.param({"img_size": 28, "patch_size": 7}, id="patch-7"),
    pytest.param({"mask_ratio": 0.1}, id="ratio-0.1"),
    pytest.param({"img_size": 448, "patch_size": 16}, id="448-px"),
    pytest.param({"img_size": 512, "patch_size": 16}, id="512-px"),
    pytest.param({"img_size": 392, "patch_size": 14, "mask_ratio": 0.85}, id="OCT-392-px-patch-14"),
]


def batch_for(model):
    generator = torch.Generator().manual_seed(3)
    shape = (2, 3, model.img_size, model.img_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return images, torch.rand(2, model.num_patches, generator=generator)


def scramble(model):
    """Move every parameter off the values at which a mistake could hide (zero biases, unit scales)."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            )


@pytest.mark.parametrize("changes", CASES)
def test_loss_mask_pred_and_gradients_equal_the_published_ones(build, tiny, changes):
    model = build(**changes).double()
    scramble(model)
    images, noise = batch_for(model)
    weights = {
        name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()
    }
    expected = published_mae(weights, images, noise, arguments={**tiny.model_dump(), **changes})
    expected.loss.backward()

    output = model(images, noise)
    output.loss.backward()

    assert output.loss.dtype == output.pred.dtype == output.mask.dtype == torch.float64
    torch.testing.assert_close(output.loss, expected.loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(output.mask, expected.mask, rtol=0, atol=0)
    torch.testing.assert_close(output.pred, expected.pred, rtol=1e-10, atol=1e-12)
    compared = 0
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(
                parameter.grad, weights[name].grad, rtol=1e-9, atol=1e-13, msg=name
            )
            compared += 1
    assert compared == len(weights) - 2


def test_float32_stays_within_its_rounding_of_the_published_loss(build, tiny):
    model = build()
    images, noise = batch_for(model)
    weights = {name: value.detach().double() for name, value in model.state_dict().items()}
    expected = published_mae(weights, images, noise, arguments=tiny.model_dump())
    loss = model(images, noise).loss
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.loss.item(), rel=1e-6)


def test_bfloat16_stays_within_its_rounding_of_the_published_loss(build, tiny):
    model = build()
    images, noise = batch_for(model)
    weights = {name: value.detach().double() for name, value in model.state_dict().items()}
    expected = published_mae(weights, images, noise, arguments=tiny.model_dump())
    output = model.bfloat16()(images, noise)
    output.loss.backward()
    assert output.loss.dtype == torch.float32
    assert output.pred.dtype == torch.bfloat16
    assert output.loss.item() == pytest.approx(expected.loss.item(), rel=2e-2)
    assert model.decoder_pred.weight.grad.dtype == torch.bfloat16


def test_whole_images_give_the_features_of_timms_vision_transformer(build, images):
    model = build()
    scramble(model)
    encoder = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0, global_pool="token"
    )  # fmt: skip
    decoder_parts = ("decoder_", "mask_token")
    encoder.load_state_dict(
        {
            name: value
            for name, value in model.state_dict().items()
            if not name.startswith(decoder_parts)
        }
    )
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
    with torch.no_grad():
        expected = encoder.forward_features((images / 255 - mean) / std)
        torch.testing.assert_close(model.forward_features(images), expected, rtol=1e-5, atol=1e-5)


def published_names(*, depth, decoder_depth):
    """Names and shapes of a ViT-L state dict, as listed for the published checkpoints."""
    shapes = {
        "cls_token": (1, 1, 1024),
        "pos_embed": (1, 197, 1024),
        "mask_token": (1, 1, 512),
        "decoder_pos_embed": (1, 197, 512),
        "patch_embed.proj.weight": (1024, 3, 16, 16),
        "patch_embed.proj.bias": (1024,),
        "norm.weight": (1024,),
        "norm.bias": (1024,),
        "decoder_embed.weight": (512, 1024),
        "decoder_embed.bias": (512,),
        "decoder_norm.weight": (512,),
        "decoder_norm.bias": (512,),
        "decoder_pred.weight": (768, 512),
        "decoder_pred.bias": (768,),
    }
    stacks = [("blocks", depth, 1024), ("decoder_blocks", decoder_depth, 512)]
    for stack, num_blocks, dim in stacks:
        for index in range(num_blocks):
            for layer, rows, columns in [
                ("attn.qkv", 3 * dim, dim),
                ("attn.proj", dim, dim),
                ("mlp.fc1", 4 * dim, dim),
                ("mlp.fc2", dim, 4 * dim),
            ]:
                shapes[f"{stack}.{index}.{layer}.weight"] = (rows, columns)
                shapes[f"{stack}.{index}.{layer}.bias"] = (rows,)
            for norm in ("norm1", "norm2"):
                shapes[f"{stack}.{index}.{norm}.weight"] = (dim,)
                shapes[f"{stack}.{index}.{norm}.bias"] = (dim,)
    return shapes


def test_a_published_vit_l_state_dict_loads_strictly():
    published = {
        name: torch.empty(shape, device="meta")
        for name, shape in published_names(depth=24, decoder_depth=8).items()
    }
    with torch.device("meta"):
        model = MaskedAutoencoder(MAE_SIZES["L"])
    model.load_state_dict(published, strict=True, assign=True)
    assert len(model.state_dict()) == 398
    assert sum(value.numel() for value in model.state_dict().values()) == 329_541_888
    with torch.device("meta"):
        fresh = MaskedAutoencoder(MAE_SIZES["L"])
    trainable = [value for value in fresh.parameters() if value.requires_grad]
    assert sum(value.numel() for value in trainable) == 329_239_296
    frozen = {name for name, value in fresh.named_parameters() if not value.requires_grad}
    assert frozen == {"pos_embed", "decoder_pos_embed"}
