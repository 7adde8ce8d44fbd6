"""Reading of checkpoints: whole tensors, put together from the parts of however many ranks."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from retfm_dist.errors import DamagedCheckpointError
from retfm_dist.train.checkpoint.layout import (
    AVERAGE,
    KINDS,
    STATE,
    Stretch,
    parse_key,
    part_name,
)


class AssembledTensors(Mapping[str, torch.Tensor]):
    """The tensors of one kind, each read and put together when asked for.

    Args:
        parts: Open file and stretch of every piece.
        shapes: Name -> shape of the whole.
        where: The checkpoint, for errors.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Any, Stretch]],
        shapes: Mapping[str, Sequence[int]],
        *,
        where: Path,
    ) -> None:
        """Sort the pieces by name and place."""
        self._shapes = shapes
        self._where = where
        self._pieces: dict[str, list[tuple[Any, Stretch]]] = {}
        for file, stretch in sorted(parts, key=lambda part: part[1].start):
            self._pieces.setdefault(stretch.name, []).append((file, stretch))

    def __getitem__(self, name: str) -> torch.Tensor:
        """Read one tensor, on the CPU.

        Raises:
            DamagedCheckpointError: Its pieces leave a gap or overlap.
        """
        whole = torch.empty(math.prod(self._shapes[name]), dtype=torch.float32)
        end, fits = 0, True
        for file, stretch in self._pieces[name]:
            values = file.get_tensor(stretch.key)
            fits = stretch.start == end and end + len(values) <= len(whole)
            if not fits:
                break
            whole[end : end + len(values)] = values
            end += len(values)
        if not fits or end != len(whole):
            raise DamagedCheckpointError(
                f"the pieces of {name} do not make it up",
                where=self._where,
                got=f"{end} elements in a row, then another place",
                expected=len(whole),
            )
        return whole.view(*self._shapes[name])

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._pieces)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._pieces)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint opened for reading.

    Attributes:
        weights: Name -> fp32 tensor, frozen tables included.
        moments: "exp_avg" and "exp_avg_sq", each name -> fp32 tensor.
        average: Running mean of the trained weights, name -> fp32 tensor; empty where none is kept.
        state: The content of state.json.
    """

    weights: Mapping[str, torch.Tensor]
    moments: Mapping[str, Mapping[str, torch.Tensor]]
    average: Mapping[str, torch.Tensor]
    state: dict[str, Any]


def open_checkpoint(directory: Path) -> Checkpoint:
    """Open a checkpoint that has been verified."""
    state = read_state(directory)
    parts: dict[str, list[tuple[Any, Stretch]]] = {kind: [] for kind in (*KINDS, AVERAGE)}
    for rank in range(state["world_size"]):
        file = safe_open(directory / part_name(rank), framework="pt")
        for key in file.keys():  # noqa: SIM118 - the library's object is no mapping
            stretch = parse_key(key)
            parts[stretch.kind].append((file, stretch))
    weights, *moments, average = (
        AssembledTensors(pieces, state["shapes"], where=directory) for pieces in parts.values()
    )
    return Checkpoint(weights, dict(zip(KINDS[1:], moments, strict=True)), average, state)


def read_state(directory: Path) -> dict[str, Any]:
    """Read state.json of a checkpoint."""
    return json.loads((directory / STATE).read_text(encoding="utf-8"))
