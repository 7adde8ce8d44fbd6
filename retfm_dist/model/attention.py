"""Which attention kernel of PyTorch computes a shape, by a table that a benchmark writes.

`attention_kernels.json` holds, by the start of a device's name and by number format, the kernel of
each shape "TOKENSxHEAD_DIM": {"NVIDIA H100": {"bf16": {"50x64": "flash"}}}. A kernel stands in it
only if its outputs and gradients were finite and those of the plain formula
(`python -m benchmarks.attention --write`).
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import cast

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

KERNELS: Mapping[str, SDPBackend] = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
TABLE_NAME = "attention_kernels.json"

# Without an entry PyTorch chooses, but not cuDNN's: NaN gradients have been reported of it.
_UNMEASURED = ("flash", "efficient", "math")

Table = Mapping[str, Mapping[str, Mapping[str, str]]]


@cache
def read_table() -> Table:
    """Return the table of this installation."""
    return json.loads((files("retfm_dist.model") / TABLE_NAME).read_text())


def shape_name(tokens: int, head_dim: int) -> str:
    """Return a shape as the table names it."""
    return f"{tokens}x{head_dim}"


def allowed_kernels(
    table: Table, *, device_name: str, dtype: torch.dtype, tokens: int, head_dim: int
) -> tuple[str, ...]:
    """Return the names of the kernels that may compute a shape: the measured one, or several.

    Args:
        table: As `read_table` returns it.
        device_name: As `torch.cuda.get_device_name` gives it, or "cpu".
        dtype: Of queries, keys and values.
        tokens: Number of them.
        head_dim: Width of a head.
    """
    name = {torch.bfloat16: "bf16", torch.float32: "fp32"}.get(dtype, str(dtype))
    for start, of_device in table.items():
        if device_name.startswith(start):
            kernel = of_device.get(name, {}).get(shape_name(tokens, head_dim))
            return (kernel,) if kernel else _UNMEASURED
    return _UNMEASURED


@cache
def kernels_for(
    device: torch.device, dtype: torch.dtype, tokens: int, head_dim: int
) -> tuple[str, ...]:
    """Return `allowed_kernels` of this installation's table."""
    name = device_name_of(device)
    return allowed_kernels(
        read_table(), device_name=name, dtype=dtype, tokens=tokens, head_dim=head_dim
    )


def run_blocks(blocks: nn.ModuleList, tokens: Tensor, *, kernel: str | None) -> Tensor:
    """Run transformer blocks one after the other.

    Args:
        blocks: timm's, of one width.
        tokens: [B, tokens, width].
        kernel: Name of the attention kernel; None is the table's.

    Returns:
        [B, tokens, width].
    """
    num_heads = cast(Attention, cast(Block, blocks[0]).attn).num_heads
    size = (tokens.shape[1], tokens.shape[2] // num_heads)
    with attention_by((kernel,) if kernel else kernels_for(tokens.device, tokens.dtype, *size)):
        for block in blocks:
            tokens = block(tokens)
    return tokens


@contextlib.contextmanager
def attention_by(kernels: tuple[str, ...]) -> Iterator[None]:
    """Compute attention by one of these kernels while this lasts."""
    with sdpa_kernel([KERNELS[name] for name in kernels]):
        yield


def device_name_of(device: torch.device) -> str:
    """Return the name of a device as the table has it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
