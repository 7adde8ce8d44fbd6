"""A run that has started, on one rank."""

from dataclasses import dataclass

import torch

from retfm_dist.config import PretrainConfig
from retfm_dist.ranks.heartbeat import Heartbeat
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.interfaces import Loader
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.schedule import Plan


@dataclass(frozen=True)
class Run:
    """A run that has started, on one rank.

    Attributes:
        config: What it computes and how.
        run_dir: Where it writes.
        plan: Its lengths in steps, and its learning rates.
        ranks: Which rank this is.
        engine: Model and optimizer.
        loader: The data path.
        heartbeat: Tells the other ranks that this one makes progress.
    """

    config: PretrainConfig
    run_dir: RunDir
    plan: Plan
    ranks: Ranks
    engine: Engine
    loader: Loader
    heartbeat: Heartbeat

    @property
    def device_name(self) -> str:
        """Name of the accelerator that this rank computes on."""
        device = self.engine.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
