"""Reconstruction pictures of the run's first images.

The same images, masks and crops in every picture, so that they can be compared. They are patient
data: they stay in the run directory and go to no tracking server.
"""

from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from retfm_dist.durable import open_atomic
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.interfaces import DrawReconstructions, Loader
from retfm_dist.train.step import batch_inputs


class Reconstructions:
    """Keeps the images and draws them when asked.

    Args:
        inputs: Images [B, 3, S, S] uint8 and noise [B, L] of this rank.
        draw: The model's way to draw.
    """

    def __init__(
        self, inputs: tuple[torch.Tensor, torch.Tensor], *, draw: DrawReconstructions
    ) -> None:
        """Keep what will be drawn."""
        self._inputs = inputs
        self._draw = draw

    def write(self, path: Path, *, engine: Engine, ranks: Ranks) -> None:
        """Draw the model's present state to a PNG file; all ranks call this together.

        Where the model is sharded every rank runs the same forward pass, because each holds only
        a part of the weights; the main rank's picture is kept.
        """
        if not (ranks.is_main or engine.is_sharded):
            return
        with engine.evaluating():
            picture = self._draw(*self._inputs)
        if ranks.is_main:
            write_png(path, picture)


def first_inputs(
    loader: Loader, *, num_images: int, seed: int, num_patches: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first images of this rank's order with their noise, at most one step's.

    Args:
        loader: The data path.
        num_images: How many are wanted.
        seed: Seed of the run.
        num_patches: Patches per image, L.
        device: Where the model computes.
    """
    images, noise = [], []
    batches = loader.batches(0, 1)
    for batch in batches:
        inputs = batch_inputs(batch, seed=seed, num_patches=num_patches, device=device)
        images.append(inputs.images)
        noise.append(inputs.noise)
        if sum(map(len, images)) >= num_images:
            break
    if isinstance(batches, Generator):
        batches.close()  # A loader iterates once at a time, and the run is next.
    return torch.cat(images)[:num_images].clone(), torch.cat(noise)[:num_images].clone()


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture [H, W, 3] as PNG, atomically."""
    with open_atomic(path) as file:
        Image.fromarray(picture).save(file, format="PNG")
