"""Location of this rank's piece of each parameter's fp32 weights and Adam moments.

ZeRO flattens parameters into long tensors and gives each rank a stretch of them; a parameter may
lie on several ranks, begin in the middle of one and end in another. A `Piece` says which elements
of a parameter lie where, in the same words for every stage, so that checkpoints know no stage:

    stage 0    the parameter itself, whole on every rank
    stage 1, 2 a stretch of the flat fp32 partition of the parameter's group
    stage 3    the parameter's own 1/world_size, padded, inside a flat fp32 sub-group

Taken over all ranks, the pieces cover every element once; at stage 0, where all ranks hold all, a
rank counts as the owner of its share. This module reads attributes that DeepSpeed puts on
parameters and optimizers, but does not import it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from retfm_dist.disk_tensors import DiskTensors
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.checkpoint.layout import AVERAGE, KINDS, Stretch

WEIGHTS, *MOMENTS = KINDS


@dataclass(frozen=True)
class Piece:
    """Consecutive elements of a parameter that this rank updates.

    Attributes:
        owner: The fp32 tensor that the optimizer updates; the key of its optimizer state.
        owner_start: First element in the flattened `owner`.
        param_start: First element in the flattened parameter.
        num_elements: Length of the piece.
    """

    owner: torch.Tensor
    owner_start: int
    param_start: int
    num_elements: int


@dataclass(frozen=True)
class Partitions:
    """All trainable parameters, and this rank's piece of each.

    Attributes:
        optimizer: The PyTorch optimizer inside DeepSpeed's.
        shapes: Full shape of each trainable parameter, in the model's order.
        pieces: This rank's piece; absent where the rank holds nothing of a parameter.
        is_replicated: Whether every rank holds every parameter whole (stage 0).
        ema_decay: Decay of the running mean of the weights; None keeps none.
        disk: Where moments and mean are; None: in memory, beside the weights.
    """

    optimizer: torch.optim.Optimizer
    shapes: dict[str, torch.Size]
    pieces: dict[str, Piece]
    is_replicated: bool
    ema_decay: float | None = None
    disk: DiskTensors | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of tensors that there are."""
        return KINDS if self.ema_decay is None else (*KINDS, AVERAGE)

    def owned(self, ranks: Ranks) -> Iterator[tuple[Stretch, torch.Tensor]]:
        """Yield what this rank owns of every kind: where it lies, and its values.

        Args:
            ranks: Which rank this is.

        Yields:
            A stretch and its values, a view on the device, [n] fp32, n > 0; always in one order.
        """
        for kind in self.kinds:
            for name, piece in self.pieces.items():
                begin, end = 0, piece.num_elements
                if self.is_replicated:
                    begin = end * ranks.rank // ranks.world_size
                    end = end * (ranks.rank + 1) // ranks.world_size
                if end > begin:
                    stretch = Stretch(kind, name, piece.param_start + begin)
                    yield stretch, self._values(piece, kind)[begin:end]

    def set_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Copy this rank's pieces of full fp32 weights into place, bit for bit."""
        for name, piece in self.pieces.items():
            self._copy_in(weights[name], piece, WEIGHTS)

    def clear_moments(self, *, num_updates: int = 0) -> None:
        """Give the optimizer the moments that it begins with, which it would make itself later.

        A running mean begins at the weights.
        """
        for owner in self._owners():
            self.optimizer.state[owner] = self._empty_state(owner, num_updates)

    def set_moments(self, moments: dict[str, dict[str, torch.Tensor]], *, num_updates: int) -> None:
        """Give the optimizer its moments and its own count of updates.

        Args:
            moments: "exp_avg" and "exp_avg_sq", each name -> full fp32 tensor.
            num_updates: Updates already made, which Adam's bias correction needs.
        """
        self.clear_moments(num_updates=num_updates)
        for name, piece in self.pieces.items():
            for key in MOMENTS:
                self._copy_in(moments[key][name], piece, key)

    def set_average(self, average: Mapping[str, torch.Tensor]) -> None:
        """Go on with a running mean, name -> full fp32 tensor, where one is kept."""
        if self.ema_decay is not None and average:
            for name, piece in self.pieces.items():
                self._copy_in(average[name], piece, AVERAGE)

    @torch.no_grad()
    def track_average(self, is_updated: torch.Tensor) -> None:
        """Move the running mean towards the weights, without a wait, unless they stayed.

        Its decay begins small, min(decay, (1 + n) / (10 + n)) after n updates, so that the
        random weights of the start are soon forgotten.

        Args:
            is_updated: [] bool on the device.

        Source: tf.train.ExponentialMovingAverage, num_updates.
        """
        if self.ema_decay is None:
            return
        for owner in self._owners():
            count = self.optimizer.state[owner]["step"]
            decay = ((1 + count) / (10 + count)).clamp(max=self.ema_decay)
            self.optimizer.state[owner][AVERAGE].lerp_(
                owner, (1 - decay) * is_updated.to(owner.device)
            )

    def num_updates(self) -> int:
        """Return Adam's own count of the updates it has made."""
        counts = {int(self.optimizer.state[owner]["step"]) for owner in self._owners()}
        assert len(counts) == 1, f"Adam counts {counts} updates"
        return counts.pop()

    def _owners(self) -> list[torch.Tensor]:
        return list({id(piece.owner): piece.owner for piece in self.pieces.values()}.values())

    def _values(self, piece: Piece, kind: str) -> torch.Tensor:
        """Return the elements of a piece, a view, [num_elements] fp32."""
        tensor = piece.owner if kind == WEIGHTS else self.optimizer.state[piece.owner][kind]
        return tensor.detach().view(-1).narrow(0, piece.owner_start, piece.num_elements)

    def _copy_in(self, full: torch.Tensor, piece: Piece, kind: str) -> None:
        stretch = full.view(-1).narrow(0, piece.param_start, piece.num_elements)
        self._values(piece, kind).copy_(stretch)

    def _empty_state(self, owner: torch.Tensor, num_updates: int) -> dict[str, torch.Tensor]:
        """Return what AdamW makes for a tensor at its first step, with another count."""
        # The fused kernel reads the count where the weights are.
        count = torch.tensor(float(num_updates), dtype=torch.float32, device=owner.device)
        zeros_like = torch.zeros_like if self.disk is None else self.disk.zeros_like
        values = owner.detach()
        state = {"step": count}
        if self.ema_decay is not None:
            state[AVERAGE] = zeros_like(values).copy_(values)
        return state | {key: zeros_like(values) for key in MOMENTS}


def find_partitions(
    model: nn.Module,
    *,
    optimizer: torch.optim.Optimizer,
    zero_optimizer: Any,
    ranks: Ranks,
    ema_decay: float | None = None,
    disk: DiskTensors | None = None,
) -> Partitions:
    """Find this rank's pieces after `deepspeed.initialize`.

    Args:
        model: The model that DeepSpeed wrapped; names come from it.
        optimizer: The PyTorch optimizer that was handed in.
        zero_optimizer: DeepSpeed's optimizer; the same object as `optimizer` at stage 0.
        ranks: Which rank this is.
        ema_decay: Decay of the running mean of the weights; None keeps none.
        disk: Where moments and mean are to be; None: in memory, beside the weights.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return Partitions(
        optimizer=optimizer,
        shapes={name: getattr(p, "ds_shape", p.shape) for name, p in trainable.items()},
        pieces=dict(_find_pieces(trainable, optimizer, zero_optimizer, ranks)),
        is_replicated=zero_optimizer is optimizer,
        ema_decay=ema_decay,
        disk=disk,
    )


def _find_pieces(
    trainable: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    zero_optimizer: Any,
    ranks: Ranks,
) -> Iterator[tuple[str, Piece]]:
    for name, parameter in trainable.items():
        if zero_optimizer is optimizer:
            yield name, Piece(parameter, 0, 0, parameter.numel())
        elif hasattr(parameter, "ds_id"):
            piece = _stage3_piece(parameter, zero_optimizer, ranks)
            if piece.num_elements > 0:
                yield name, piece
        elif (mapping := getattr(parameter, "_hp_mapping", None)) is not None:
            here, there = mapping.hp_fragment_address, mapping.lp_fragment_address
            owner = optimizer.param_groups[mapping.param_group_index]["params"][0]
            yield name, Piece(owner, here.start, there.start, here.numel)


def _stage3_piece(parameter: Any, zero_optimizer: Any, ranks: Ranks) -> Piece:
    group, owner_start, padded = zero_optimizer.grad_position[
        zero_optimizer.get_param_id(parameter)
    ]
    param_start = min(padded * ranks.rank, parameter.ds_numel)
    owner = zero_optimizer.fp32_partitioned_groups_flat[group]
    return Piece(owner, owner_start, param_start, min(padded, parameter.ds_numel - param_start))
