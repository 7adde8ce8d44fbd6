import pytest
import torch

from retfm_dist.config.schema import ModelConfig
from retfm_dist.model.mae import MaskedAutoencoder, init_weights
from tests.fakes.runs import TINY

DEEPER = {**TINY, "decoder_depth": 2}


@pytest.fixture
def tiny():
    """A model of 16 patches that does everything a large one does."""
    return ModelConfig(**DEEPER)


@pytest.fixture
def build():
    """Return a function that builds a tiny model with other arguments as given."""

    def build_model(*, seed=0, **changes):
        model = MaskedAutoencoder(ModelConfig(**{**DEEPER, **changes}))
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
