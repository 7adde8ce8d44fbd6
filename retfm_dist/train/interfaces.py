"""Interfaces of the parts that are handed to training: a model, a loader and its batches."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

DrawReconstructions = Callable[[torch.Tensor, torch.Tensor], NDArray[np.uint8]]
"""(images uint8 [B, 3, S, S], noise [B, L]) -> picture uint8 [H, W, 3]."""


class TrainableModel(Protocol):
    """A masked autoencoder and what training asks of it."""

    @property
    def module(self) -> nn.Module:
        """The model on the CPU in fp32; trained in place.

        forward(images uint8 [B, 3, S, S], noise [B, L]) -> named tuple with `loss`.
        """
        ...

    @property
    def initialize(self) -> Callable[[], object]:
        """Gives the module its first weights."""
        ...

    @property
    def draw(self) -> DrawReconstructions:
        """Draws the module's reconstruction of given images."""
        ...

    @property
    def compile(self) -> Callable[[], None]:
        """Compiles the module for training, at the first step."""
        ...

    @property
    def attention(self) -> Callable[[torch.device], str]:
        """Says which attention kernels a device may use for which shape."""
        ...

    @property
    def flops_per_image(self) -> int:
        """Operations of the reference model's training step on one image."""
        ...


class Replacement(Protocol):
    """A sample that could not be used."""

    @property
    def uid(self) -> str | None:
        """16 hex digits; None where nobody knows."""
        ...

    @property
    def shard(self) -> str:
        """Path of its tar."""
        ...

    @property
    def row(self) -> int:
        """Its number in the tar."""
        ...

    @property
    def reason(self) -> str:
        """What is wrong with it."""
        ...

    @property
    def substitute(self) -> str:
        """Uid of what is trained on instead."""
        ...


class Batch(Protocol):
    """One micro-batch of one rank."""

    @property
    def images(self) -> torch.Tensor:
        """[B, 3, S, S] uint8, pinned or on the device."""
        ...

    @property
    def uids(self) -> torch.Tensor:
        """[B] int64, the bits of the samples' 64-bit uids."""
        ...

    @property
    def keys(self) -> torch.Tensor:
        """[B] int64, by which the samples' random numbers are drawn; mostly their uids."""
        ...

    @property
    def replaced(self) -> Sequence["Replacement"]:
        """Samples that could not be used, and what is in their place."""
        ...

    @property
    def step(self) -> int:
        """Optimizer step that the batch belongs to, 0-based."""
        ...

    @property
    def micro_step(self) -> int:
        """Forward pass within the step, 0-based."""
        ...

    @property
    def epoch(self) -> int:
        """Pass over the images that the step belongs to, 0-based."""
        ...


class Loader(Protocol):
    """The data path; its order is a pure function of the step."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the images."""
        ...

    @property
    def num_samples(self) -> int:
        """Images in an epoch, the tail that fills no step included."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the fingerprints that a resumed run must match, JSON values."""
        ...

    def is_there(self) -> bool:
        """Whether a restart would find the images."""
        ...

    def check_state(self, state: dict[str, Any]) -> None:
        """Raise DataError when a checkpoint's data path is not this one."""
        ...

    def cohort(self) -> dict[str, Any] | None:
        """Return the composition of the images, JSON values; None where the set has none."""
        ...

    def write_membership(self, path: Path) -> None:
        """Write keyed hashes of the images and patients; nothing where the set has none."""
        ...

    def batches(self, start_step: int, end_step: int) -> Iterator[Batch]:
        """Yield this rank's micro-batches of the steps in [start_step, end_step), in order."""
        ...

    def timings(self) -> dict[str, float]:
        """Return seconds since the last call: "wait_s" is how long the caller was kept waiting."""
        ...

    def close(self) -> None:
        """Release threads and buffers."""
        ...
