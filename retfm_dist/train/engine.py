"""DeepSpeed behind a small door: the one module of the package that imports it.

Weights and activations are bf16 or fp32; master weights and moments are fp32 always. Nothing is
compiled at start-up: AdamW is PyTorch's, and DeepSpeed's shared-memory operator, which it would
build with a C++ compiler on the CPU, is switched off.

Frozen parameters (the sine tables) are rounded with everything else when the model computes in
bf16, as the activations they are added to are. Their fp32 originals are kept aside, and these are
what checkpoints hold.
"""

import contextlib
import datetime
import io
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import nn

from retfm_dist.config import PretrainConfig
from retfm_dist.distributed import Ranks, has_group
from retfm_dist.errors import CheckpointError, TrainError
from retfm_dist.train.engine_config import deepspeed_config
from retfm_dist.train.optimizer import build_optimizer
from retfm_dist.train.partitions import MOMENTS, Partitions, find_partitions

logger = logging.getLogger(__name__)

_GROUP_TIMEOUT = datetime.timedelta(minutes=10)


def _import_deepspeed() -> Any:
    """Import DeepSpeed without what it would import, compile or print in passing."""
    # Its autotuner, which is of no use here, would import mlflow: three seconds on every rank.
    # An entry of None makes that import fail, which the autotuner allows for.
    is_hidden = "mlflow" not in sys.modules
    if is_hidden:
        sys.modules["mlflow"] = None  # pyright: ignore[reportArgumentType] - documented for this
    try:
        import deepspeed
        import deepspeed.accelerator
        import deepspeed.ops
    finally:
        if is_hidden:
            del sys.modules["mlflow"]
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def start_ranks(ranks: Ranks) -> torch.device:
    """Join the process group and return the device that this rank computes on.

    The accelerator is DeepSpeed's choice: a GPU where there is one, unless DS_ACCELERATOR=cpu.

    Args:
        ranks: Which process this is, as the launcher said.

    Raises:
        TrainError: The rendezvous port is taken, or there are more ranks than GPUs.
    """
    deepspeed = _import_deepspeed()
    accelerator = deepspeed.accelerator.get_accelerator()
    device = torch.device("cpu")
    if accelerator.device_name() != "cpu":
        if ranks.local_rank >= accelerator.device_count():
            raise TrainError(
                "more ranks than accelerators on this host",
                where=f"rank {ranks.rank}",
                got=f"local rank {ranks.local_rank}",
                expected=f"below {accelerator.device_count()}",
            )
        device = torch.device(accelerator.device_name(ranks.local_rank))
        accelerator.set_device(ranks.local_rank)
    backend = accelerator.communication_backend_name() or "gloo"
    if not has_group():
        _join_group(backend, ranks, device)
    # DeepSpeed reads the local rank from the environment only, also where no launcher set it.
    os.environ.setdefault("LOCAL_RANK", str(ranks.local_rank))
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False)
    return device


def stop_ranks() -> None:
    """Leave the process group; the end of a process that has nothing more to say to others."""
    if has_group():
        # DeepSpeed's own function, since it keeps references to the group.
        _import_deepspeed().comm.destroy_process_group()


def _join_group(backend: str, ranks: Ranks, device: torch.device) -> None:
    # A single process meets nobody, so it needs no port.
    alone = torch.distributed.HashStore()  # pyright: ignore[reportPrivateImportUsage]
    try:
        torch.distributed.init_process_group(
            backend,
            store=alone if ranks.world_size == 1 else None,
            rank=ranks.rank,
            world_size=ranks.world_size,
            timeout=_GROUP_TIMEOUT,
            device_id=device if device.type == "cuda" else None,
        )
    except torch.distributed.DistNetworkError as error:
        raise TrainError(
            "the ranks cannot meet",
            where=f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}",
            got=str(error).splitlines()[0],
            hint="another job may hold the port; pass another --master_port to deepspeed",
        ) from error


@dataclass(frozen=True)
class SavedState:
    """What a checkpoint gives back to the engine.

    Attributes:
        weights: Name -> full fp32 tensor, frozen tables included.
        moments: "exp_avg" and "exp_avg_sq", each name -> full fp32 tensor.
        num_updates: Adam's own count of updates.
    """

    weights: Mapping[str, torch.Tensor]
    moments: Mapping[str, Mapping[str, torch.Tensor]]
    num_updates: int


class Engine:
    """A model and its optimizer under DeepSpeed, in any ZeRO stage.

    Attributes:
        device: Where the model computes.
        is_sharded: Whether no rank holds the model whole, so that a forward pass needs all ranks.
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
        deepspeed = _import_deepspeed()
        if saved is not None:
            load_weights(model, saved.weights)
        # ZeRO makes its master weights from the model after the cast; these are the exact ones.
        exact = {name: p.detach().clone() for name, p in model.named_parameters()}
        optimizer = build_optimizer(model, config.optimizer, device=device)
        self.device = device
        self.is_sharded = config.engine.zero_stage == 3
        self._ranks = ranks
        self._model = model
        with contextlib.redirect_stdout(io.StringIO()) as chatter:
            self._engine: Any = deepspeed.initialize(
                model=model,
                optimizer=optimizer,
                config=deepspeed_config(config, world_size=ranks.world_size),
                dist_init_required=False,
            )[0]
        logger.debug("%s", chatter.getvalue())
        self._partitions: Partitions = find_partitions(
            model,
            optimizer=optimizer,
            zero_optimizer=self._engine.optimizer,
            ranks=ranks,
            device=device,
        )
        self._partitions.set_weights(exact)
        self._frozen = {
            name: exact[name] for name, p in model.named_parameters() if not p.requires_grad
        }
        if saved is not None:
            self._partitions.set_moments(
                {key: dict(saved.moments[key]) for key in MOMENTS}, num_updates=saved.num_updates
            )
        self._engine.train()

    def forward_backward(
        self, images: torch.Tensor, noise: torch.Tensor, *, is_last: bool
    ) -> torch.Tensor:
        """Add one micro-batch's gradients and return its loss, detached, [] on the device.

        Args:
            images: [B, 3, S, S] uint8 on the device.
            noise: [B, L] float32 on the device, which decides the mask.
            is_last: Whether this is the step's last micro-batch, after which ranks average.
        """
        self._engine.set_gradient_accumulation_boundary(is_last)
        loss = self._engine(images, noise).loss
        self._engine.backward(loss)
        return loss.detach()

    def update(self, lr: float) -> bool:
        """Apply the averaged gradients and clear them.

        Args:
            lr: Learning rate of this update.

        Returns:
            Whether the update was made. It is not, on any rank, when a gradient is not finite.
        """
        if self._partitions.is_replicated and not self._gradients_are_finite():
            self._engine.zero_grad()
            return False
        for group in self._partitions.optimizer.param_groups:
            group["lr"] = lr
        self._engine.step()
        return self._engine.was_step_applied()

    def _gradients_are_finite(self) -> bool:
        """Whether every gradient is finite; ZeRO checks its own, stage 0 has nobody to do it."""
        gradients = [p.grad for p in self._model.parameters() if p.grad is not None]
        return bool(torch.isfinite(torch.nn.utils.get_total_norm(gradients)))

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Run the model without gradients and without touching what training needs."""
        self._engine.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self._engine.train()

    def gather_weights(self) -> dict[str, torch.Tensor]:
        """Return all fp32 weights on the main rank, frozen tables included; all ranks call this."""
        weights = self._partitions.gather(None, ranks=self._ranks)
        return weights | self._frozen if self._ranks.is_main else {}

    def gather_moments(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return both Adam moments of all parameters on the main rank; all ranks call this."""
        return {key: self._partitions.gather(key, ranks=self._ranks) for key in MOMENTS}

    def num_updates(self) -> int:
        """Return Adam's own count of updates."""
        return self._partitions.num_updates()

    def close(self) -> None:
        """Let go of DeepSpeed's hooks and buffers; the engine cannot be used afterwards."""
        self._engine.destroy()


def load_weights(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy fp32 weights into a model that DeepSpeed has not seen yet; names must match exactly.

    Raises:
        CheckpointError: A tensor is missing, unknown, or of another shape.
    """
    own = dict(model.named_parameters())
    for name in [*own, *weights]:
        got = tuple(weights[name].shape) if name in weights else "no such tensor"
        expected = tuple(own[name].shape) if name in own else "no such tensor"
        if got != expected:
            raise CheckpointError(
                "the checkpoint is of another model", where=name, got=got, expected=expected
            )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])
