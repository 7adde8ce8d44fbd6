"""The masked autoencoder: uint8 images in, loss out.

The encoder sees only the patches that were kept, and embeds only those. The decoder gets them
back together with one mask token per removed patch; it works in the order kept, then removed,
because attention does not depend on the order of its tokens once the position embeddings are
added. The loss is taken on the removed patches alone.

Parameter names and shapes are those of the published checkpoints: a ViT-L has 398 tensors.

    cls_token  pos_embed*  patch_embed.proj  blocks.N.*  norm
    decoder_embed  mask_token  decoder_pos_embed*  decoder_blocks.N.*  decoder_norm  decoder_pred
    * fixed tables of sines and cosines, without gradient
"""

from collections import OrderedDict
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped, UInt8
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from retfm_dist.config.schema import ModelConfig
from retfm_dist.errors import ModelError
from retfm_dist.model.attention import run_blocks
from retfm_dist.model.init import initial_values
from retfm_dist.model.masking import (
    ORDERS,
    PatchSplit,
    join_patches,
    removal_mask,
    split_patches,
    take_patches,
)
from retfm_dist.model.patches import PatchProjection, patchify, standardize_patches
from retfm_dist.model.position import sincos_table
from retfm_dist.model.preprocessing import normalize_pixels

# Gray level that JPEG leaves at most in what was black, but for a patch at the rim.
_BLACK = 8


class MaeOutput(NamedTuple):
    """What a forward pass returns; a tuple, because DeepSpeed's hooks look into tuples.

    Attributes:
        loss: [] mean squared error over the removed patches; float32, or float64 for a float64
            model.
        mask: [B, L] of the loss's type, 1 = removed.
        pred: [B, L, P] predicted patches in image order, of the model's type. All are there;
            gradients flow through the removed ones alone, as the loss does.
    """

    loss: Float[Tensor, ""]
    mask: Float[Tensor, "B L"]
    pred: Float[Tensor, "B L P"]


class MaskedAutoencoder(nn.Module):
    """ViT encoder and decoder that learn by filling in removed patches.

    The constructor leaves arbitrary weights: call `init_weights` or `load_state_dict` next.

    Args:
        config: Dimensions and mask, checked for consistency by `ModelConfig` itself.

    Source: He et al. 2022, arXiv:2111.06377.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers; see the class."""
        super().__init__()
        self.img_size = config.img_size
        self.patch_size = config.patch_size
        self.grid_size = config.grid_size
        self.num_patches = config.num_patches
        self.num_kept = config.num_kept
        self.num_heads = config.num_heads
        self.norm_pix_loss = config.norm_pix_loss
        self.loss_outside = config.loss_outside
        self.mask_order = ORDERS[config.mask]
        self.attention_kernel: str | None = None  # the table's

        norm = partial(nn.LayerNorm, eps=1e-6)
        # timm takes any callable here; its annotation says type[Module].
        block = partial(Block, mlp_ratio=4.0, qkv_bias=True, norm_layer=norm)  # pyright: ignore[reportArgumentType]
        tokens = 1 + config.num_patches
        patch_size, embed_dim = config.patch_size, config.embed_dim
        projection = PatchProjection(3, embed_dim, kernel_size=patch_size, stride=patch_size)
        self.patch_embed = nn.Sequential(OrderedDict(proj=projection))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = _frozen(torch.zeros(1, tokens, embed_dim))
        self.blocks = nn.ModuleList(block(embed_dim, config.num_heads) for _ in range(config.depth))
        self.norm = norm(embed_dim)

        decoder_embed_dim = config.decoder_embed_dim
        self.decoder_embed = nn.Linear(embed_dim, decoder_embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_embed_dim))
        self.decoder_pos_embed = _frozen(torch.zeros(1, tokens, decoder_embed_dim))
        self.decoder_blocks = nn.ModuleList(
            block(decoder_embed_dim, config.decoder_num_heads) for _ in range(config.decoder_depth)
        )
        self.decoder_norm = norm(decoder_embed_dim)
        self.decoder_pred = nn.Linear(decoder_embed_dim, patch_size**2 * 3)
        self.write_position_tables()

    def forward(self, images: Tensor, noise: Tensor) -> MaeOutput:
        """Remove patches, predict them, and compare.

        Args:
            images: uint8 [B, 3, img_size, img_size], red, green, blue.
            noise: float32 or float64 [B, num_patches] in [0, 1), from which the mask follows.

        Returns:
            Loss, mask and predictions.

        Raises:
            ModelError: `images` or `noise` have another shape or type.
        """
        self._check_images(images)
        self._check_noise(noise, batch_size=images.shape[0])
        split = split_patches(self.mask_order(noise), num_kept=self.num_kept)
        patches = patchify(images, patch_size=self.patch_size)
        pos_embed = self.pos_embed[:, 1:].expand(images.shape[0], -1, -1)
        latent = self._encode(
            take_patches(patches, split.ids_keep), take_patches(pos_embed, split.ids_keep)
        )
        decoded = self._decode(latent, split)
        # The loss needs the removed patches alone. The others are for whoever looks at `pred`;
        # without gradient they cost 0.03 % of a ViT-L's training step.
        with torch.no_grad():
            pred_kept = self._predict(decoded.detach()[:, 1 : 1 + self.num_kept])
        pred_removed = self._predict(decoded[:, 1 + self.num_kept :])
        loss = self._loss(pred_removed, take_patches(patches, split.ids_removed))
        return MaeOutput(
            loss=loss,
            mask=removal_mask(split, dtype=loss.dtype),
            pred=join_patches(split, pred_kept, pred_removed),
        )

    def forward_features(self, images: Tensor) -> Float[Tensor, "B tokens D"]:
        """Encode whole images, nothing removed.

        Args:
            images: uint8 [B, 3, img_size, img_size], red, green, blue.

        Returns:
            [B, 1 + num_patches, embed_dim]: class token, then patches in reading order, after the
            encoder's last normalization.

        Raises:
            ModelError: `images` have another shape or type.
        """
        self._check_images(images)
        patches = patchify(images, patch_size=self.patch_size)
        return self._encode(patches, self.pos_embed[:, 1:])

    def compile_blocks(self, *, backend: str = "inductor") -> None:
        """Compile each transformer block by itself, for one batch size, at its first call.

        Blocks of one width share their code. What lies between them stays as it is: gradients are
        ready block by block, and gathers have been miscompiled before.

        Args:
            backend: As `torch.compile` takes it.
        """
        for block in (*self.blocks, *self.decoder_blocks):
            block.compile(dynamic=False, fullgraph=True, backend=backend)

    @torch.no_grad()
    def write_position_tables(self) -> None:
        """Compute the fixed position tables in float64 and store them in the model's type."""
        for table in (self.pos_embed, self.decoder_pos_embed):
            table.copy_(sincos_table(self.grid_size, dim=table.shape[-1]))

    def _normalize(self, pixels: UInt8[Tensor, "B K P"]) -> Float[Tensor, "B K P"]:
        """Normalize the colors of uint8 patches, in float32 at least."""
        dtype = torch.promote_types(torch.float32, self.cls_token.dtype)
        return normalize_pixels(pixels.unflatten(-1, (-1, 3)), dtype=dtype).flatten(-2)

    def _encode(
        self, pixels: UInt8[Tensor, "B K P"], pos_embed: Float[Tensor, "#B K D"]
    ) -> Float[Tensor, "B tokens D"]:
        """Embed the patches given, each at its position, and run the encoder."""
        patches = self.patch_embed(self._normalize(pixels).to(self.cls_token.dtype)) + pos_embed
        class_token = (self.cls_token + self.pos_embed[:, :1]).expand(patches.shape[0], -1, -1)
        tokens = torch.cat([class_token, patches], dim=1)
        return self.norm(run_blocks(self.blocks, tokens, kernel=self.attention_kernel))

    def _decode(
        self, latent: Float[Tensor, "B visible D"], split: PatchSplit
    ) -> Float[Tensor, "B tokens E"]:
        """Run the decoder on class token, kept patches and mask tokens, in that order."""
        batch_size, num_removed = split.ids_removed.shape
        mask_tokens = self.mask_token.expand(batch_size, num_removed, -1)
        table = self.decoder_pos_embed.expand(batch_size, -1, -1)
        order = torch.cat([split.ids_keep, split.ids_removed], dim=1)
        pos_embed = torch.cat([table[:, :1], take_patches(table[:, 1:], order)], dim=1)
        tokens = torch.cat([self.decoder_embed(latent), mask_tokens], dim=1) + pos_embed
        return run_blocks(self.decoder_blocks, tokens, kernel=self.attention_kernel)

    def _predict(self, tokens: Float[Tensor, "B K E"]) -> Float[Tensor, "B K P"]:
        """Predict the pixels of the patches whose decoder tokens are given."""
        return self.decoder_pred(self.decoder_norm(tokens))

    def _loss(
        self, pred: Float[Tensor, "B M P"], pixels: UInt8[Tensor, "B M P"]
    ) -> Float[Tensor, ""]:
        """Compare removed patches with their prediction, in float32 at least.

        The published loss weighs patches by the mask and divides by its sum. Every image has as
        many removed patches, so that is their plain mean. Where patches outside of the field of
        view do not count, it is the mean over images of the mean over their other ones, which does
        not depend on how images are divided among ranks and micro-batches.
        """
        target = self._normalize(pixels)
        if self.norm_pix_loss:
            target = standardize_patches(target)
        squares = (pred.to(target.dtype) - target).square()
        if self.loss_outside:
            return squares.mean()
        is_inside = (pixels > _BLACK).any(dim=-1).to(squares.dtype)
        of_images = (squares.mean(dim=-1) * is_inside).sum(dim=1)
        return (of_images / is_inside.sum(dim=1).clamp(min=1.0)).mean()

    def _check_images(self, images: Tensor) -> None:
        expected = (3, self.img_size, self.img_size)
        if images.dtype != torch.uint8 or images.shape[1:] != expected or images.shape[0] == 0:
            raise ModelError(
                "images do not fit the model",
                got=f"{_describe(images)}",
                expected=f"uint8 [B, 3, {self.img_size}, {self.img_size}] with B > 0",
                hint="hand over stored pixels; the model normalizes them itself",
            )

    def _check_noise(self, noise: Tensor, *, batch_size: int) -> None:
        wide = noise.dtype in (torch.float32, torch.float64)
        if not wide or noise.shape != (batch_size, self.num_patches):
            raise ModelError(
                "noise does not fit the model",
                got=_describe(noise),
                expected=f"float32 or float64 [{batch_size}, {self.num_patches}]",
                hint="narrower types make patches tie and so change which are kept",
            )


@torch.no_grad()
def init_weights(model: MaskedAutoencoder, seed: int) -> None:
    """Overwrite every parameter with its published initial value, and the position tables.

    Args:
        model: On any device but "meta", of any number format; the values are the same.
        seed: Seed of the run, in [0, 2**64).
    """
    for name, parameter in model.named_parameters():
        if name not in ("pos_embed", "decoder_pos_embed"):
            owner = model.get_submodule(name.rpartition(".")[0])
            parameter.copy_(initial_values(owner, name, seed=seed))
    model.write_position_tables()


def _frozen(values: Float[Tensor, "*shape"]) -> nn.Parameter:
    """Return a parameter that no optimizer touches but that is saved with the others."""
    return nn.Parameter(values, requires_grad=False)


def _describe(values: Shaped[Tensor, "*shape"]) -> str:
    """Return type and shape of a tensor, for messages: 'float32 [2, 196]'."""
    return f"{str(values.dtype).removeprefix('torch.')} {list(values.shape)}"
