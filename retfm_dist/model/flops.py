"""Matrix-product operations per image, for model FLOP utilization.

A product of [M, K] and [K, N] counts 2 M K N; its backward pass has two such products, except for
the patch embedding, whose input needs no gradient. Normalizations, softmax and GELU do not count.
"""

from dataclasses import dataclass
from typing import Literal

from retfm_dist.config.schema import ModelConfig

Work = Literal["reference", "actual"]


@dataclass(frozen=True)
class Flops:
    """Operations of one part of the model, per image.

    Attributes:
        forward: Operations of the forward pass.
        backward: Operations of the backward pass.
    """

    forward: int
    backward: int

    @property
    def train(self) -> int:
        """Operations of a training step."""
        return self.forward + self.backward


def count_flops(config: ModelConfig, *, work: Work = "reference") -> dict[str, Flops]:
    """Count the operations of every part of the model, per image.

    Args:
        config: Dimensions and mask of the model.
        work: "reference" is what the published model does: it embeds all patches and predicts
            from all tokens, class token included; 124.226 GFLOP a step for ViT-L/16 at 224 px
            and 75 %. Utilization is measured against it, so that doing less does not lower the
            score. "actual" is what `MaskedAutoencoder` does.

    Returns:
        Part to operations, in the order of the forward pass.
    """
    num_patches, num_kept = config.num_patches, config.num_kept
    num_pixels = config.patch_size**2 * 3
    width, decoder_width = config.embed_dim, config.decoder_embed_dim

    embedded = num_patches if work == "reference" else num_kept
    embed = _product(embedded, num_pixels, width)
    head = _product(num_patches + 1, decoder_width, num_pixels)
    head_flops = Flops(head, 2 * head)
    if work == "actual":
        removed = _product(num_patches - num_kept, decoder_width, num_pixels)
        head_flops = Flops(_product(num_patches, decoder_width, num_pixels), 2 * removed)
    return {
        "patch_embed": Flops(embed, embed),
        **_blocks("encoder", tokens=1 + num_kept, width=width, depth=config.depth),
        "decoder_embed": _with_backward(_product(1 + num_kept, width, decoder_width)),
        **_blocks(
            "decoder",
            tokens=1 + num_patches,
            width=decoder_width,
            depth=config.decoder_depth,
        ),
        "decoder_pred": head_flops,
    }


def train_flops_per_image(config: ModelConfig, *, work: Work = "reference") -> int:
    """Return the operations of one training step on one image; see `count_flops`."""
    return sum(part.train for part in count_flops(config, work=work).values())


def _blocks(prefix: str, *, tokens: int, width: int, depth: int) -> dict[str, Flops]:
    """Count the products of `depth` transformer blocks; the number of heads does not matter."""
    products = {
        "qkv": _product(tokens, width, 3 * width),
        # Queries times keys, then weights times values.
        "attention": 2 * _product(tokens, width, tokens),
        "proj": _product(tokens, width, width),
        "fc1": _product(tokens, width, 4 * width),
        "fc2": _product(tokens, 4 * width, width),
    }
    return {f"{prefix}_{name}": _with_backward(depth * flops) for name, flops in products.items()}


def _with_backward(forward: int) -> Flops:
    """Return a product's operations with the two products of its backward pass."""
    return Flops(forward, 2 * forward)


def _product(rows: int, inner: int, columns: int) -> int:
    """Return the operations of [rows, inner] times [inner, columns]."""
    return 2 * rows * inner * columns
