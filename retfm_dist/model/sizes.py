"""The published sizes of the masked autoencoder."""

from retfm_dist.config.schema import ModelConfig


def _size(*, embed_dim: int, depth: int, num_heads: int, patch_size: int = 16) -> ModelConfig:
    """Return the encoder given, at 224 px, with the decoder and mask that all sizes share."""
    return ModelConfig(
        img_size=224,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        decoder_embed_dim=512,
        decoder_depth=8,
        decoder_num_heads=16,
        mask_ratio=0.75,
        norm_pix_loss=True,
    )


MAE_SIZES: dict[str, ModelConfig] = {
    "S": _size(embed_dim=384, depth=12, num_heads=6),
    "B": _size(embed_dim=768, depth=12, num_heads=12),
    "L": _size(embed_dim=1024, depth=24, num_heads=16),
    "H": _size(embed_dim=1280, depth=32, num_heads=16, patch_size=14),
}
"""Dimensions by size. Source: Dosovitskiy et al. 2021, arXiv:2010.11929, table 1 (B, L, H);
Touvron et al. 2021, arXiv:2012.12877, table 1 (S); He et al. 2022, arXiv:2111.06377 (decoder and
mask)."""
