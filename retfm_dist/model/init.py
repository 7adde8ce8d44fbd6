"""Initial values, a pure function of seed, parameter name and shape.

Every tensor has its own stream of random numbers. So the values do not depend on the rank, the
number of ranks, the device, the number format, the order of construction, or on what else drew
random numbers before; and two models that share a layer's name and shape share its start.
"""

import hashlib
from math import sqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from retfm_dist.rng.streams import Stream, sample_words

_TOKEN_STD = 0.02


def initial_values(owner: nn.Module, name: str, *, seed: int) -> Float[Tensor, "*shape"]:
    """Draw the published initial value of one parameter.

    Linear layers and the flattened patch projection are uniform after Glorot, biases zero,
    except the patch projection's, which keeps a convolution's default: uniform within
    1 / sqrt(inputs). Normalizations start as identity; a module's own tokens are normal with
    deviation 0.02.

    Args:
        owner: The module that holds the parameter itself.
        name: The parameter's full name in the model; its last part is its name in `owner`.
        seed: Seed of the run, in [0, 2**64).

    Returns:
        float32 on the CPU, of the parameter's shape.

    Source: He et al. 2022, arXiv:2111.06377, section A.1; Glorot & Bengio 2010.
    """
    role = name.rpartition(".")[2]
    values = torch.empty(owner.get_parameter(role).shape, dtype=torch.float32, device="cpu")
    generator = torch.Generator().manual_seed(_stream_seed(seed, name))
    match owner, role:
        case nn.LayerNorm(), "weight":
            return values.fill_(1.0)
        case nn.LayerNorm() | nn.Linear(), "bias":
            return values.zero_()
        case nn.Linear() | nn.Conv2d(), "weight":
            bound = sqrt(6 / (values.shape[0] + values[0].numel()))
            return values.uniform_(-bound, bound, generator=generator)
        case nn.Conv2d(), "bias":
            bound = 1 / sqrt(owner.weight[0].numel())
            return values.uniform_(-bound, bound, generator=generator)
    return values.normal_(std=_TOKEN_STD, generator=generator)


def _stream_seed(seed: int, name: str) -> int:
    """Return the 64-bit seed of the generator that fills the parameter `name`."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    uid = np.array([int.from_bytes(digest, "little")], dtype=np.uint64)
    low, high = sample_words(seed, 0, uid, Stream.INIT, 2)[0].tolist()
    return low | high << 32
