"""Layout of the Philox counters: one stream of words per (seed, epoch, sample, purpose).

    key      seed low word, seed high word
    counter  uid low word, uid high word, epoch, stream << 24 | block

A block is four words. A value of `Stream` is part of every published result: add members, never
renumber them.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retfm_dist.rng import philox, philox_torch
from retfm_dist.rng.philox import WORD_MASK

_WORDS_PER_BLOCK = 4
_STREAM_SHIFT = 24


class Stream(IntEnum):
    """The purposes that random numbers are drawn for."""

    ORDER = 0
    """Order of the samples in an epoch; uid 0."""
    CROP = 1
    """Random resized crop."""
    FLIP = 2
    """Horizontal flip."""
    MASK = 4
    """Order in which patches are masked."""
    INIT = 5
    """Initialization of the weights."""
    SUBSTITUTE = 6
    """Samples in place of one that cannot be used."""


def sample_words(
    seed: int, epoch: int, uids: NDArray[np.uint64], stream: Stream, num_words: int
) -> NDArray[np.uint32]:
    """Draw words for each sample.

    Args:
        seed: Seed of the run, in [0, 2**64).
        epoch: Pass over the data, in [0, 2**32).
        uids: uint64 [B] content identifiers.
        stream: Purpose; streams are independent of each other.
        num_words: Words per sample; the first of them do not depend on how many are drawn.

    Returns:
        uint32 [B, num_words].
    """
    num_blocks = _count_blocks(num_words)
    _check_counter(seed, epoch)
    # [B, blocks, 4], one row of words per (sample, block).
    counters = np.empty((uids.size, num_blocks, _WORDS_PER_BLOCK), dtype=np.uint32)
    counters[..., 0] = (uids & np.uint64(WORD_MASK))[:, None]
    counters[..., 1] = (uids >> np.uint64(32))[:, None]
    counters[..., 2] = epoch
    counters[..., 3] = (stream << _STREAM_SHIFT) + np.arange(num_blocks)
    key = np.array(_seed_words(seed), dtype=np.uint32)
    words = philox.philox4x32(counters.reshape(-1, _WORDS_PER_BLOCK), key)
    return words.reshape(uids.size, num_blocks * _WORDS_PER_BLOCK)[:, :num_words]


def uniforms(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Map words to float64 in [0, 1), same shape: (word >> 8) * 2**-24.

    24 bits are exact in float32 too, so CPU and GPU see the same number.
    """
    return (words >> np.uint32(8)).astype(np.float64) * 2.0**-24


def mask_noise(
    seed: int, epoch: int, uids: Tensor, num_patches: int, *, compiled: bool = False
) -> Tensor:
    """Draw the noise whose order decides which patches of each sample are masked.

    Two of 196 values coincide in about one sample of a thousand: sort with `stable=True`,
    which settles ties alike on all devices.

    Args:
        seed: Seed of the run, in [0, 2**64).
        epoch: Pass over the data, in [0, 2**32).
        uids: int64 [B], the bits of the uint64 content identifiers.
        num_patches: Patches per image, L.
        compiled: Whether torch compiles the 270 operations into one or two, for one number of
            samples; the bits are the same.

    Returns:
        float32 [B, L] in [0, 1) on the device of `uids`; bit-equal to `uniforms` of
        `sample_words` with `Stream.MASK`.
    """
    _check_counter(seed, epoch)
    # A number would be part of what is compiled, anew in every epoch; a fill makes nobody wait.
    epochs = torch.full((), epoch, device=uids.device)
    draw = _compiled_noise() if compiled else _noise
    return draw(epochs, uids, seed, num_patches)


@cache
def _compiled_noise() -> Callable[[Tensor, Tensor, int, int], Tensor]:
    return torch.compile(_noise, dynamic=False, fullgraph=True)


def _noise(epoch: Tensor, uids: Tensor, seed: int, num_patches: int) -> Tensor:
    """Compute `mask_noise`; `epoch` is int64 []."""
    num_blocks = _count_blocks(num_patches)
    blocks = torch.arange(num_blocks, device=uids.device) + (Stream.MASK << _STREAM_SHIFT)
    counters = uids.new_empty(uids.numel(), num_blocks, _WORDS_PER_BLOCK)
    counters[..., 0] = (uids & WORD_MASK)[:, None]
    # The shift of a negative int64 keeps its sign; the mask drops it.
    counters[..., 1] = ((uids >> 32) & WORD_MASK)[:, None]
    counters[..., 2] = epoch
    counters[..., 3] = blocks
    words = philox_torch.philox4x32(counters.view(-1, _WORDS_PER_BLOCK), _seed_words(seed))
    noise = (words >> 8).to(torch.float32) * 2.0**-24
    return noise.view(uids.numel(), -1)[:, :num_patches]


def _count_blocks(num_words: int) -> int:
    """Return the blocks of four that hold `num_words`; the counter has 24 bits for them."""
    num_blocks = -(-num_words // _WORDS_PER_BLOCK)
    assert num_blocks <= 1 << _STREAM_SHIFT, f"{num_words} words overrun the block counter"
    return num_blocks


def _seed_words(seed: int) -> tuple[int, int]:
    """Return the low and high word of a seed."""
    return seed & WORD_MASK, seed >> 32


def _check_counter(seed: int, epoch: int) -> None:
    """Assert what the config's schema guarantees, so that no seed is cut silently."""
    assert 0 <= seed < 2**64, f"seed {seed} does not fit 64 bits"
    assert 0 <= epoch < 2**32, f"epoch {epoch} does not fit 32 bits"
