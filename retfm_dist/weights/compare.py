"""Comparison of the tensors found with the tensors expected, by name and shape."""

from collections.abc import Iterable, Mapping

import torch

Shapes = Mapping[str, tuple[int, ...]]

_NAMES_SHOWN = 4


def shapes_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def describe_mismatch(found: Shapes, expected: Shapes) -> str:
    """Say how the tensors found differ from those expected, naming the first few.

    Args:
        found: Shapes by name.
        expected: Shapes by name.

    Returns:
        "2 missing: a, b; 1 unexpected: c; 1 of another shape: d (3,) instead of (4,)"; empty
        where names and shapes agree exactly.
    """
    reshaped = (
        f"{name} {found[name]} instead of {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    )
    clauses = (
        _list_names("missing", (name for name in expected if name not in found)),
        _list_names("unexpected", (name for name in found if name not in expected)),
        _list_names("of another shape", reshaped),
    )
    return "; ".join(clause for clause in clauses if clause)


def _list_names(heading: str, items: Iterable[str]) -> str:
    names = list(items)
    if not names:
        return ""
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{len(names)} {heading}: {', '.join(names[:_NAMES_SHOWN])}{more}"
