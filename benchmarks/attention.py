"""Attention: each kernel of PyTorch on the shapes of the masked autoencoder.

    python -m benchmarks.attention [--batch N] [--dtype bf16|fp32] [--write] [--json FILE]

Forward and backward of each kernel that this device has, on random queries, keys and values. A
kernel counts only if output and gradients are finite and as near to the plain formula in float64 as
the plain formula in the same number format is, within a factor of two. The peer is PyTorch's own
choice; the limit is the device's large matrix product, in FLOP/s.
`--write` puts the fastest kernels into the package's table, from which training chooses.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.rows import Row, report
from benchmarks.training import clock
from retfm_dist.model.attention import (
    KERNELS,
    TABLE_NAME,
    attention_by,
    device_name_of,
    read_table,
    shape_name,
)
from retfm_dist.train.mfu import measured_peak

SHAPES = {
    "ViT-L encoder, 224 px": (16, 50, 64),
    "decoder, 224 px": (16, 197, 32),
    "ViT-L encoder, 448 px": (16, 197, 64),
    "decoder, 448 px": (16, 785, 32),
    "ViT-H/14 encoder, 224 px": (16, 65, 80),
}
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}

_ROUND_S = 0.1

Tensors = tuple[torch.Tensor, ...]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=224)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="choose from now on by this")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    rows, chosen = [], {}
    limit = measured_peak(device, DTYPES[arguments.dtype])
    for name, shape in SHAPES.items():
        found, fastest = measure(
            name, (arguments.batch, *shape), DTYPES[arguments.dtype], device, arguments.rounds
        )
        rows += rows_of(name, (arguments.batch, *shape), found, limit, device_name_of(device))
        chosen[shape_name(shape[1], shape[2])] = fastest
    report(f"Attention, {arguments.dtype}, forward and backward", rows, arguments.json)
    if arguments.write:
        write(device_name_of(device), arguments.dtype, chosen)


def measure(
    name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, rounds: int
) -> tuple[dict[str, float], str]:
    """Return the time of each kernel that is right, s, and the name of the fastest."""
    inputs = draw(shape, dtype, device)
    ways: dict[str, Callable[[], object]] = {"PyTorch's choice": lambda: run(inputs)}
    for kernel in KERNELS:
        why_not = what_is_wrong(kernel, shape, dtype, device)
        if why_not:
            print(f"{name}: {kernel} is out: {why_not}")
        else:
            ways[kernel] = lambda kernel=kernel: run_by(kernel, inputs)
    times: dict[str, list[float]] = {kernel: [] for kernel in ways}
    once_s = max(clock(way, steps=2, device=device) for way in ways.values())
    num_calls = max(1, int(_ROUND_S / once_s))
    for _ in range(rounds):
        for kernel, way in ways.items():
            times[kernel].append(clock(way, steps=num_calls, device=device))
    found = {kernel: statistics.median(values) for kernel, values in times.items()}
    return found, min((kernel for kernel in found if kernel in KERNELS), key=lambda k: found[k])


def draw(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensors:
    """Return queries, keys, values, and the gradient of the output, [B, heads, tokens, width]."""
    values = [torch.randn(shape, device=device).to(dtype) for _ in range(4)]
    return tuple(value.requires_grad_(index < 3) for index, value in enumerate(values))


def run(inputs: Tensors) -> Tensors:
    """Return output and gradients."""
    query, key, value, gradient = inputs
    output = scaled_dot_product_attention(query, key, value)
    return output.detach(), *torch.autograd.grad(output, (query, key, value), gradient)


def run_by(kernel: str, inputs: Tensors) -> Tensors:
    """Return output and gradients by one kernel."""
    with attention_by((kernel,)):
        return run(inputs)


def what_is_wrong(
    kernel: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> str:
    """Return why a kernel may not be chosen for a shape; "" where it may."""
    inputs = draw((min(shape[0], 16), *shape[1:]), dtype, device)
    exact = run_by(
        "math", tuple(v.detach().double().requires_grad_(i < 3) for i, v in enumerate(inputs))
    )
    try:
        found = run_by(kernel, inputs)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    if not all(torch.isfinite(part).all() for part in found):
        return "a value is not finite"
    plain = run_by("math", inputs)
    for part, by_plain, expected in zip(found, plain, exact, strict=True):
        error, allowed = (
            (one.double() - expected).norm() / expected.norm() for one in (part, by_plain)
        )
        if error > 2 * allowed + 1e-6:
            return f"relative error {error:.1e}, of the plain formula {allowed:.1e}"
    return ""


def rows_of(
    name: str, shape: tuple[int, ...], found: dict[str, float], limit: float, machine: str
) -> list[Row]:
    """Return a row per kernel, in FLOP/s of the two products forward and five backward."""
    batch, heads, tokens, width = shape
    num_flops = 7 * 2 * batch * heads * tokens**2 * width
    peer = found["PyTorch's choice"]
    return [
        Row(
            f"{name} ({tokens} x {width}): {kernel}", num_flops / seconds / 1e12, "TFLOP/s",
            "" if kernel not in KERNELS else "PyTorch's choice", peer / seconds, limit / 1e12,
            machine,
        )
        for kernel, seconds in found.items()
    ]  # fmt: skip


def write(device_name: str, dtype: str, chosen: dict[str, str]) -> None:
    """Put the fastest kernels into the package's table."""
    table = {name: dict(entry) for name, entry in read_table().items()}
    of_device = table.setdefault(device_name, {})
    of_device[dtype] = {**of_device.get(dtype, {}), **chosen}
    path = Path(str(files("retfm_dist.model") / TABLE_NAME))
    path.write_text(json.dumps(table, indent=2, sort_keys=True) + "\n")
    print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
