"""DeepSpeed wrapper: trains a model in any ZeRO stage and gives back its full fp32 state.

Weights and activations are bf16 or fp32; master weights and moments are fp32 always.
"""

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from retfm_dist.config import PretrainConfig
from retfm_dist.disk_tensors import DiskTensors
from retfm_dist.errors import CheckpointError
from retfm_dist.ranks.world import Ranks, spans_hosts
from retfm_dist.train.checkpoint.layout import Stretch
from retfm_dist.train.engine.forward_clock import ForwardClock
from retfm_dist.train.engine.gradients import (
    averaged_gradients,
    exchange_nothing,
    squared_norm,
)
from retfm_dist.train.engine.host_clock import HostClock
from retfm_dist.train.engine.library import import_deepspeed
from retfm_dist.train.engine.offload import move_to_disk
from retfm_dist.train.engine.optimizer import build_optimizer
from retfm_dist.train.engine.own_gradients import OwnGradients
from retfm_dist.train.engine.partitions import MOMENTS, WEIGHTS, Partitions, find_partitions
from retfm_dist.train.engine.process_group import limit_groups
from retfm_dist.train.engine.settings import deepspeed_config
from retfm_dist.weights.compare import describe_mismatch, shapes_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SavedState:
    """Engine state restored from a checkpoint.

    Attributes:
        weights: Name -> full fp32 tensor, frozen tables included.
        moments: "exp_avg" and "exp_avg_sq", each name -> full fp32 tensor.
        num_updates: Adam's own count of updates.
        average: Running mean of the trained weights; empty where none is kept.
    """

    weights: Mapping[str, torch.Tensor]
    moments: Mapping[str, Mapping[str, torch.Tensor]]
    num_updates: int
    average: Mapping[str, torch.Tensor] = field(default_factory=dict)


class Engine:
    """A model and its optimizer under DeepSpeed, in any ZeRO stage.

    Attributes:
        device: Where the model computes.
        is_sharded: Whether no rank holds the model whole, so that a forward pass needs all ranks.
        forward_clock: Time of this rank's forward passes.
        host_clock: Time in which this rank's host issues a step.
    """

    def __init__(
        self,
        config: PretrainConfig,
        *,
        model: nn.Module,
        ranks: Ranks,
        device: torch.device,
        saved: SavedState | None = None,
    ) -> None:
        """Hand the model to DeepSpeed, with fresh or saved state.

        Args:
            config: The run.
            model: The model on the CPU in fp32; it is moved, cast and partitioned in place. It
                returns a named tuple with `loss`; DeepSpeed's hooks look into tuples only.
            ranks: Which rank this is.
            device: As `start_ranks` returned it.
            saved: State to continue from; None starts from the model's own weights.

        Raises:
            CheckpointError: The saved state is of another model.
        """
        deepspeed = import_deepspeed()
        if saved is not None:
            load_weights(model, saved.weights)
        # ZeRO makes its master weights from the model after the cast; these are the exact ones.
        exact = {name: p.detach().clone() for name, p in model.named_parameters()}
        optimizer = build_optimizer(model, config.optimizer)
        self.device = device
        self.forward_clock = ForwardClock(device)
        self.host_clock = HostClock(device)
        self._update_device = torch.device("cpu") if config.engine.offload_optimizer else device
        self._max_norm = config.optimizer.gradient_clipping
        self.is_sharded = config.engine.zero_stage == 3
        self._ranks = ranks
        self._model = model
        with contextlib.redirect_stdout(io.StringIO()) as chatter:
            self._engine: Any = deepspeed.initialize(
                model=model,
                optimizer=optimizer,
                config=deepspeed_config(
                    config, world_size=ranks.world_size, spans_hosts=spans_hosts(ranks)
                ),
                dist_init_required=False,
            )[0]
        logger.debug("%s", chatter.getvalue())
        if ranks.world_size == 1:
            exchange_nothing(self._engine)
        limit_groups(config.run.collective_timeout_s)
        disk = None if config.engine.offload_dir is None else DiskTensors(config.engine.offload_dir)
        if disk is not None:
            move_to_disk(model, self._engine.optimizer, disk)
        self._partitions: Partitions = find_partitions(
            model,
            optimizer=optimizer,
            zero_optimizer=self._engine.optimizer,
            ranks=ranks,
            ema_decay=config.optimizer.ema_decay,
            disk=disk,
        )
        self._partitions.set_weights(exact)
        # Frozen parameters (the sine tables) are rounded with everything else in bf16, as the
        # activations they are added to are. Checkpoints hold these fp32 originals.
        self._frozen = {
            name: exact[name] for name, p in model.named_parameters() if not p.requires_grad
        }
        if saved is None:
            self._partitions.clear_moments()
        else:
            self._partitions.set_moments(
                {key: dict(saved.moments[key]) for key in MOMENTS}, num_updates=saved.num_updates
            )
            self._partitions.set_average(saved.average)
        self._own_gradients = OwnGradients(model, device=device)
        self._engine.train()

    @property
    def optimizer_name(self) -> str:
        """Class of DeepSpeed's that updates the weights; it has several, by stage and precision."""
        return type(self._engine.optimizer).__name__

    def forward_backward(
        self,
        images: torch.Tensor,
        noise: torch.Tensor,
        *,
        is_last: bool,
    ) -> torch.Tensor:
        """Add one micro-batch's gradients and return its loss, detached, [] on the device.

        Args:
            images: [B, 3, S, S] uint8 on the device.
            noise: [B, L] float32 on the device, which decides the mask.
            is_last: Whether this is the step's last micro-batch, after which the ranks average.
        """
        with self.host_clock.running():
            self._engine.set_gradient_accumulation_boundary(is_last)
            with self.forward_clock.running():
                loss = self._engine(images, noise).loss
            self._engine.backward(loss)
        return loss.detach()

    def has_finite_gradients(self) -> torch.Tensor:
        """Return [] bool, whether this rank's own gradients of the step were finite.

        Of the averaged ones nobody can tell whose they were.
        """
        return self._own_gradients.take()

    def squared_gradient_norm(self) -> torch.Tensor:
        """Return this rank's share of the squared norm of the averaged gradients, [] float32.

        The sum over ranks is the whole; it is not finite where a gradient is not.
        """
        gradients = averaged_gradients(self._model, self._engine.optimizer)
        share = squared_norm(gradients).to(self.device)
        return share / self._ranks.world_size if self._partitions.is_replicated else share

    def update(self, lr: float, *, norm: torch.Tensor, is_sound: torch.Tensor) -> torch.Tensor:
        """Apply the averaged gradients, unless the step is not sound, and clear them.

        The host waits for nothing: AdamW's kernel reads on the device whether it is to update. Only
        an optimizer in host memory waits for the gradients.

        Args:
            lr: Learning rate of this update.
            norm: [] norm of all ranks' gradients, for clipping.
            is_sound: [] bool, the same on all ranks.

        Returns:
            [] bool, whether the weights have changed.
        """
        optimizer: Any = self._partitions.optimizer
        for group in optimizer.param_groups:
            group["lr"] = lr
        # The interface of PyTorch's GradScaler to fused optimizers: `found_inf` prevents the
        # update, the count of it included, and gradients are divided by `grad_scale`.
        optimizer.found_inf = (~is_sound).float().to(self._update_device)
        if self._max_norm > 0:
            scale = ((norm + 1e-6) / self._max_norm).clamp(min=1.0)
            optimizer.grad_scale = scale.to(self._update_device)
        with self.host_clock.running():
            self._engine.step()
        self.host_clock.end_step()
        # Stage 3, and stage 1 in bf16 with accumulation, look for themselves too.
        is_updated = is_sound & self._engine.was_step_applied()
        self._partitions.track_average(is_updated)
        return is_updated

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Run the model without gradients and without touching what training needs."""
        self._engine.eval()
        try:
            # Another batch size would be compiled anew, for a few pictures.
            with torch.no_grad(), torch.compiler.set_stance("force_eager"):
                yield
        finally:
            self._engine.train()

    def owned(self) -> Iterator[tuple[Stretch, torch.Tensor]]:
        """Yield what this rank owns of the fp32 state: where each stretch lies, and its values.

        All ranks' together are the whole state, each element once; the frozen tables are the main
        rank's. The values are views: the next update changes them.
        """
        tables = self._frozen if self._ranks.is_main else {}
        for name, table in tables.items():
            yield Stretch(WEIGHTS, name, 0), table.view(-1)
        yield from self._partitions.owned(self._ranks)

    def shapes(self) -> dict[str, list[int]]:
        """Return the whole shape of every parameter, frozen tables included."""
        shapes = self._partitions.shapes | {name: t.shape for name, t in self._frozen.items()}
        return {name: list(shape) for name, shape in shapes.items()}

    def num_updates(self) -> int:
        """Return Adam's own count of updates."""
        return self._partitions.num_updates()

    def close(self) -> None:
        """Release DeepSpeed's hooks and buffers; the engine cannot be used afterwards."""
        self._own_gradients.close()
        self._engine.destroy()


def load_weights(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy fp32 weights into a model that DeepSpeed has not seen yet; names must match exactly.

    Raises:
        CheckpointError: A tensor is missing, unknown, or of another shape.
    """
    own = dict(model.named_parameters())
    if mismatch := describe_mismatch(shapes_of(weights), shapes_of(own)):
        raise CheckpointError("the checkpoint is of another model", got=mismatch)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])
