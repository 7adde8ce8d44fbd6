"""Rank and world size of this process, as its launcher set them."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Ranks:
    """Rank and world size of this process.

    Attributes:
        rank: Index among all processes, 0-based.
        local_rank: Index among the processes of this host, 0-based.
        world_size: Number of processes.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files that exist once per run."""
        return self.rank == 0


def ranks_from_environment() -> Ranks:
    """Read the variables that DeepSpeed's launcher and torchrun set, or else Open MPI's."""
    return Ranks(
        rank=_read("RANK", "OMPI_COMM_WORLD_RANK", default=0),
        local_rank=_read("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", default=0),
        world_size=_read("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", default=1),
    )


def spans_hosts(ranks: Ranks) -> bool:
    """Whether there are ranks on other hosts, as the launcher's variables say."""
    local = _read(
        "LOCAL_WORLD_SIZE", "LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", default=ranks.world_size
    )
    return local < ranks.world_size


def _read(*names: str, default: int) -> int:
    return int(next((os.environ[name] for name in names if name in os.environ), default))
