"""A run on one rank: what a process has throughout, and what it builds anew to go back."""

from dataclasses import dataclass
from typing import Any

import torch

from retfm_dist.config import PretrainConfig
from retfm_dist.ranks.heartbeat import Heartbeat
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.copier import Copier
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.interfaces import Loader
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.schedule import Plan
from retfm_dist.train.skips import Skips
from retfm_dist.train.watch import FailureNotes


@dataclass(frozen=True)
class Job:
    """What this process has from its start to its end.

    Attributes:
        config: What the run computes and how.
        run_dir: Where it writes.
        plan: Its lengths in steps, and its learning rates.
        ranks: Which rank this is.
        device: Where this rank computes.
        loader: The data path.
        heartbeat: Tells the other ranks that this one makes progress.
        notes: Of how this attempt failed, for the next one.
        copier: Copies checkpoints to an object store; on the main rank, where it is asked for.
    """

    config: PretrainConfig
    run_dir: RunDir
    plan: Plan
    ranks: Ranks
    device: torch.device
    loader: Loader
    heartbeat: Heartbeat
    notes: FailureNotes
    copier: Copier | None

    @property
    def device_name(self) -> str:
        """Name of the accelerator that this rank computes on."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return self.device.type


@dataclass(frozen=True)
class Run(Job):
    """A job that trains; rolling back ends one and begins another.

    Attributes:
        engine: Model and optimizer.
        skips: Steps that are passed over.
        overrides: {"step", "field", "from", "to"} of each field of the experiment that has been
            changed in the course of the run.
    """

    engine: Engine
    skips: Skips
    overrides: tuple[dict[str, Any], ...] = ()
