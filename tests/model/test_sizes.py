import pytest

from retfm_dist.model.sizes import MAE_SIZES


@pytest.mark.parametrize(
    ("size", "embed_dim", "depth", "num_heads", "num_patches"),
    [("S", 384, 12, 6, 196), ("B", 768, 12, 12, 196), ("L", 1024, 24, 16, 196), ("H", 1280, 32, 16, 256)],
)  # fmt: skip
def test_sizes_are_the_published_ones(size, embed_dim, depth, num_heads, num_patches):
    config = MAE_SIZES[size]
    assert (config.embed_dim, config.depth, config.num_heads) == (embed_dim, depth, num_heads)
    assert config.num_patches == num_patches
    assert (config.decoder_embed_dim, config.decoder_depth) == (512, 8)
    assert config.num_kept == num_patches // 4
