"""The encoder's dimensions, the names of its weights, and its description in timm's terms.

Names are those of the MAE reference: `blocks.{i}.attn.qkv.weight`, `decoder_blocks.{i}...`. timm's
VisionTransformer uses the same names for the encoder, so an export needs no renaming.

Source: names and shapes of He et al. 2022 (arXiv:2111.06377) as in the released checkpoints:
398 tensors for ViT-L/16 with its decoder of 8 blocks, 294 of them the encoder's.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from retfm_dist.errors import ExportError
from retfm_dist.model.preprocessing import IMAGENET_MEAN, IMAGENET_STD

TIMM_ARCHITECTURE = "vit_large_patch16_224"
"""timm's entry point; every dimension is overridden, so it serves all sizes."""

_BLOCK_PARTS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
_KNOWN_HEADS = {384: 6, 768: 12, 1024: 16, 1280: 16}
"""Attention heads of ViT-S, B, L and H by width; they leave no trace in the weights' shapes."""


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


def _pair(name: str) -> set[str]:
    return {f"{name}.weight", f"{name}.bias"}


def _block_names(prefix: str, depth: int) -> set[str]:
    return {
        name
        for index in range(depth)
        for part in _BLOCK_PARTS
        for name in _pair(f"{prefix}.{index}.{part}")
    }


def encoder_names(depth: int) -> set[str]:
    """Return the names of an encoder's tensors; 294 for the 24 blocks of ViT-L."""
    own = {"cls_token", "pos_embed"} | _pair("patch_embed.proj") | _pair("norm")
    return own | _block_names("blocks", depth)


def mae_names(depth: int, decoder_depth: int) -> set[str]:
    """Return the names of a full MAE's tensors; 398 for ViT-L with its decoder of 8 blocks."""
    decoder = {"mask_token", "decoder_pos_embed"}
    for part in ("decoder_embed", "decoder_norm", "decoder_pred"):
        decoder |= _pair(part)
    return encoder_names(depth) | decoder | _block_names("decoder_blocks", decoder_depth)


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
        "model_args": {
            **asdict(architecture),
            "num_classes": 0,
            "global_pool": "avg",
            "fc_norm": False,
        },
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
    model = timm.create_model(
        TIMM_ARCHITECTURE, pretrained=False, **timm_config(architecture)["model_args"]
    )
    assert isinstance(model, VisionTransformer)
    return model


def architecture_of(
    state: Mapping[str, torch.Tensor], *, num_heads: int | None, where: Path
) -> Architecture:
    """Return the dimensions that a state dict's shapes show.

    Args:
        state: Encoder tensors under MAE's names.
        num_heads: Attention heads, which no shape shows; None takes those of ViT-S, B, L or H.
        where: File named in the error.

    Raises:
        ExportError: The names are not MAE's, or the number of heads is unknown.
    """
    for name in ("patch_embed.proj.weight", "pos_embed"):
        if name not in state:
            raise ExportError(
                f"no tensor {name}", where=where, expected="a state dict with MAE's names"
            )
    embed_dim, _, patch_size, _ = state["patch_embed.proj.weight"].shape
    grid = round((state["pos_embed"].shape[1] - 1) ** 0.5)
    blocks = {int(name.split(".")[1]) for name in state if name.startswith("blocks.")}
    heads = num_heads or _KNOWN_HEADS.get(embed_dim)
    if heads is None:
        raise ExportError(
            "the number of attention heads is not in the file",
            where=where,
            got=f"width {embed_dim}",
            expected=f"one of the widths {sorted(_KNOWN_HEADS)}",
            hint="give num_heads",
        )
    return Architecture(
        img_size=grid * patch_size,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=len(blocks),
        num_heads=heads,
    )
