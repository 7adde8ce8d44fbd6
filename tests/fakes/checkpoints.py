"""Checkpoints written at once, and the whole state of an engine, for tests."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from retfm_dist.ranks.agreement import from_each
from retfm_dist.train.checkpoint.commit import commit_checkpoint
from retfm_dist.train.checkpoint.layout import AVERAGE, KINDS, Stretch, part_name
from retfm_dist.train.checkpoint.part import write_part
from retfm_dist.train.checkpoint.read import Checkpoint, open_checkpoint
from retfm_dist.train.checkpoint.snapshot import Snapshot
from retfm_dist.train.engine.engine import Engine, SavedState


def write_checkpoint(
    directory: Path,
    *,
    weights: Mapping[str, torch.Tensor],
    moments: Mapping[str, Mapping[str, torch.Tensor]],
    state: Mapping[str, Any],
    world_size: int = 1,
) -> None:
    """Write a checkpoint as the given number of ranks would that share every tensor."""
    kinds = {"weights": weights, **moments}
    shapes = {name: list(tensor.shape) for name, tensor in weights.items()}
    staging = directory.with_name(f".{directory.name}.test.partial")
    staging.mkdir(parents=True)
    facts = []
    for rank in range(world_size):
        owned = []
        for kind, tensors in kinds.items():
            for name, tensor in tensors.items():
                begin, end = (tensor.numel() * r // world_size for r in (rank, rank + 1))
                if end > begin:
                    values = tensor.detach().reshape(-1)[begin:end]
                    owned.append((Stretch(kind, name, begin), values))
        num_values = sum(len(values) for _, values in owned)
        header, values = Snapshot(num_values, device=torch.device("cpu")).take(owned)
        facts.append(write_part(staging / part_name(rank), header, values))
    commit_checkpoint(directory, staging=staging, state={"shapes": shapes, **state}, parts=facts)


def write(
    run_dir: Path, step: int, *, world_size: int = 2
) -> tuple[Path, dict[str, torch.Tensor], dict[str, dict[str, torch.Tensor]]]:
    """Write the checkpoint of a step: random tensors, one of them frozen."""
    generator = torch.Generator().manual_seed(step)
    weights = {name: torch.randn(3, 5, generator=generator) for name in ("a.weight", "table")}
    moments = {key: {"a.weight": torch.randn(3, 5)} for key in ("exp_avg", "exp_avg_sq")}
    directory = run_dir / "checkpoints" / f"step_{step:08d}"
    write_checkpoint(
        directory, weights=weights, moments=moments, state={"step": step}, world_size=world_size
    )
    return directory, weights, moments


def write_state(run_dir: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Write the checkpoint of a step of which only the state matters."""
    directory = run_dir / "checkpoints" / f"step_{step:08d}"
    moments = {"exp_avg": {}, "exp_avg_sq": {}}
    write_checkpoint(directory, weights={}, moments=moments, state={"step": step, **state})
    return directory


def flip_bit(path: Path, at: int) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[at // 8] ^= 1 << at % 8
    path.write_bytes(content)


def state_of(engine: Engine) -> SavedState:
    """Return a copy of the whole state of an engine; all ranks call this."""
    weights, *moments, average = (_whole(engine, kind) for kind in (*KINDS, AVERAGE))
    moments = dict(zip(KINDS[1:], moments, strict=True))
    return SavedState(weights, moments, engine.num_updates(), average)


def weights_of(engine: Engine) -> dict[str, torch.Tensor]:
    """Return a copy of the whole weights of an engine; all ranks call this."""
    return _whole(engine, "weights")


def _whole(engine: Engine, kind: str) -> dict[str, torch.Tensor]:
    own = [(stretch, values.clone()) for stretch, values in engine.owned() if stretch.kind == kind]
    flat = {name: torch.zeros(torch.Size(s).numel()) for name, s in engine.shapes().items()}
    counts = {name: torch.zeros(len(tensor)) for name, tensor in flat.items()}
    for stretch, values in itertools.chain.from_iterable(from_each(own)):
        place = slice(stretch.start, stretch.start + len(values))
        flat[stretch.name][place] = values
        counts[stretch.name][place] += 1
    present = [name for name, count in counts.items() if count.any()]
    assert all((counts[name] == 1).all() for name in present), "not each element once"
    return {name: flat[name].view(*engine.shapes()[name]) for name in present}


def tensors_of(directory: Path) -> dict[str, torch.Tensor]:
    """Return every tensor of a checkpoint, KIND/NAME -> whole tensor."""
    checkpoint: Checkpoint = open_checkpoint(directory)
    kinds = {
        "weights": checkpoint.weights,
        **checkpoint.moments,
        AVERAGE: checkpoint.average,
    }
    return {f"{kind}/{name}": tensors[name] for kind, tensors in kinds.items() for name in tensors}


def bits_of(directory: Path) -> dict[str, bytes]:
    """Return the bytes of every tensor of a checkpoint, whichever ranks wrote it."""
    return {name: tensor.numpy().tobytes() for name, tensor in tensors_of(directory).items()}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype == torch.float32
        same = torch.equal(one[name].view(torch.int32), other[name].view(torch.int32))
        assert same, name
