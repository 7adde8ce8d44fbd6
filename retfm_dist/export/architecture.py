"""The encoder's dimensions, the names of its weights, and its description in timm's terms.

Names are those of the MAE reference: `blocks.{i}.attn.qkv.weight`, `decoder_blocks.{i}...`. timm's
VisionTransformer uses the same names for the encoder, so an export needs no renaming.

Source: names and shapes of He et al. 2022 (arXiv:2111.06377) as in the released checkpoints:
398 tensors for ViT-L/16 with its decoder of 8 blocks, 294 of them the encoder's.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isqrt
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from retfm_dist.errors import ExportError
from retfm_dist.model.preprocessing import IMAGENET_MEAN, IMAGENET_STD

TIMM_ARCHITECTURE = "vit_large_patch16_224"
"""timm's entry point; every dimension is overridden, so it serves all sizes."""


@dataclass(frozen=True)
class Architecture:
    """Dimensions of a ViT encoder.

    Attributes:
        img_size: Side of the square input, px.
        patch_size: Side of a patch, px.
        embed_dim: Width.
        depth: Number of blocks.
        num_heads: Attention heads of a block.
    """

    img_size: int
    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int


@dataclass(frozen=True)
class Preprocessing:
    """How a photograph becomes the encoder's input.

    The field of view is cropped to a square, resized to `img_size` with PIL's `interpolation`,
    divided by 255, and normalized with `mean` and `std`.

    Attributes:
        img_size: Side of the square input, px.
        mean: Per channel (red, green, blue), for pixels in [0, 1].
        std: Per channel, for pixels in [0, 1].
        interpolation: Filter of the resize.
    """

    img_size: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bicubic"


def encoder_state(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the encoder's tensors of a MAE state dict, without mask token and decoder."""
    return {
        name: tensor
        for name, tensor in state.items()
        if name != "mask_token" and not name.startswith("decoder_")
    }


def timm_config(architecture: Architecture) -> dict[str, Any]:
    """Return the `config.json` with which timm's "local-dir:" builds and loads the encoder.

    The final norm is applied to all tokens, then the patch tokens are averaged. LayerNorm's
    epsilon is timm's default for this entry point, 1e-6, as in MAE.
    """
    size = (3, architecture.img_size, architecture.img_size)
    return {
        "architecture": TIMM_ARCHITECTURE,
        "num_classes": 0,
        "num_features": architecture.embed_dim,
        "global_pool": "avg",
        # timm reads global_pool here alone. num_classes stands above alone: Hugging Face passes it
        # beside these, and the same argument twice is an error.
        "model_args": {**asdict(architecture), "global_pool": "avg", "fc_norm": False},
        "pretrained_cfg": {
            "tag": "retfm_dist",
            "num_classes": 0,
            "input_size": list(size),
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }


def build_encoder(architecture: Architecture) -> VisionTransformer:
    """Return a timm encoder of these dimensions with random weights, as `timm_config` says."""
    config = timm_config(architecture)
    model = timm.create_model(
        config["architecture"],
        pretrained=False,
        num_classes=config["num_classes"],
        **config["model_args"],
    )
    assert isinstance(model, VisionTransformer)
    return model


def architecture_of(
    state: Mapping[str, torch.Tensor], *, num_heads: int, where: Path
) -> Architecture:
    """Return the dimensions that a state dict's shapes show.

    Args:
        state: Encoder tensors under MAE's names.
        num_heads: Attention heads, which no shape shows.
        where: File named in the error.

    Raises:
        ExportError: The names are not MAE's, a tensor does not have the form of an encoder's, or
            the heads do not divide the width.
    """
    patch_embed = _tensor(state, "patch_embed.proj.weight", num_dims=4, where=where)
    pos_embed = _tensor(state, "pos_embed", num_dims=3, where=where)
    embed_dim, _, patch_size, _ = patch_embed.shape
    grid_size = isqrt(max(pos_embed.shape[1] - 1, 0))
    if grid_size == 0 or grid_size**2 != pos_embed.shape[1] - 1:
        raise ExportError(
            "pos_embed is not that of a square grid of patches and one class token",
            where=where,
            got=list(pos_embed.shape),
            expected="[1, 1 + grid * grid, width]",
        )
    if embed_dim % num_heads:
        raise ExportError(
            "the attention heads do not divide the width",
            where=where,
            got=f"num_heads {num_heads}, width {embed_dim}",
            hint="set num_heads to that of the model; ViT-S has 6, B 12, L and H 16",
        )
    # A set of numbers, because a damaged file may lack a block in the middle.
    blocks = {name.split(".")[1] for name in state if name.startswith("blocks.")}
    return Architecture(
        img_size=grid_size * patch_size,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=len(blocks),
        num_heads=num_heads,
    )


def _tensor(
    state: Mapping[str, torch.Tensor], name: str, *, num_dims: int, where: Path
) -> torch.Tensor:
    """Return a tensor that the dimensions are read from."""
    if name not in state:
        raise ExportError(
            f"no tensor {name}",
            where=where,
            expected="a state dict with the names of MAE's encoder",
            hint="DINOv2 and CNN checkpoints are not supported",
        )
    tensor = state[name]
    if tensor.ndim != num_dims or 0 in tensor.shape:
        raise ExportError(
            f"{name} has another form than in a ViT encoder",
            where=where,
            got=list(tensor.shape),
            expected=f"{num_dims} dimensions",
        )
    return tensor
