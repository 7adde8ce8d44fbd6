import pytest
import torch

from retfm_dist.config.schema import ModelConfig
from retfm_dist.model.mae import MaskedAutoencoder, init_weights

TINY = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
    "decoder_embed_dim": 16,
    "decoder_depth": 2,
    "decoder_num_heads": 2,
    "mask_ratio": 0.75,
    "norm_pix_loss": True,
}


@pytest.fixture
def tiny():
    """A model of 16 patches that does everything a large one does."""
    return ModelConfig(**TINY)


@pytest.fixture
def build():
    """Return a function that builds a tiny model with other arguments as given."""

    def build_model(*, seed=0, **changes):
        model = MaskedAutoencoder(ModelConfig(**{**TINY, **changes}))
        init_weights(model, seed)
        return model

    return build_model


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=generator)


@pytest.fixture
def noise():
    return torch.rand(3, 16, generator=torch.Generator().manual_seed(2))
