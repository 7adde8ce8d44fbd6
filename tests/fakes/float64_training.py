"""Training in float64 by the published mathematics, which shares no code with the package.

Loss and gradients by `published_mae`, updates by PyTorch's AdamW on float64 tensors, one parameter
at a time.
"""

import functools

import torch

from retfm_dist.config.schema import ModelConfig
from retfm_dist.model.mae import MaskedAutoencoder, init_weights
from tests.fakes.published_mae import published_mae
from tests.fakes.runs import TINY

MODEL = ModelConfig(**{**TINY, "decoder_depth": 2})
BATCH = 8
LR = 1e-3
STEPS = 20


def draw(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images and the noise of a step's whole batch."""
    generator = torch.Generator().manual_seed(step)
    images = torch.randint(0, 256, (BATCH, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return images, torch.rand(BATCH, MODEL.num_patches, generator=generator)


def first_model() -> MaskedAutoencoder:
    """Return the model that both begin with."""
    model = MaskedAutoencoder(MODEL)
    init_weights(model, seed=5)
    return model


@functools.cache
def oracle() -> tuple[list[float], dict[str, torch.Tensor]]:
    """Return the losses of all steps and the gradients of the first, in float64."""
    model = first_model()
    trains = {name: p.requires_grad for name, p in model.named_parameters()}
    weights = {
        name: p.detach().double().clone().requires_grad_(trains[name])
        for name, p in model.named_parameters()
    }
    decays = [w for n, w in weights.items() if trains[n] and w.ndim > 1]
    spared = [w for n, w in weights.items() if trains[n] and w.ndim <= 1]
    groups = [{"params": decays, "weight_decay": 0.05}, {"params": spared, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    losses, gradients = [], {}
    for step in range(STEPS):
        loss = published_mae(weights, *draw(step), arguments=MODEL.model_dump()).loss
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            gradients = {n: w.grad.clone() for n, w in weights.items() if w.grad is not None}
        optimizer.step()
        losses.append(loss.item())
    return losses, gradients
