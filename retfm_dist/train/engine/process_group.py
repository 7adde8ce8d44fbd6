"""Joining and leaving the process group that the engine communicates in."""

import datetime
import os
from typing import Literal

import torch
import torch.distributed
from torch.distributed import (
    HashStore,  # pyright: ignore[reportPrivateImportUsage]
    PrefixStore,  # pyright: ignore[reportPrivateImportUsage]
    Store,  # pyright: ignore[reportPrivateImportUsage]
    TCPStore,  # pyright: ignore[reportPrivateImportUsage]
    distributed_c10d,
)

from retfm_dist.errors import TrainError
from retfm_dist.host_memory import keep_freed_memory
from retfm_dist.ranks.agreement import has_group
from retfm_dist.ranks.restarts import restart_count
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.device import settle_accelerator
from retfm_dist.train.engine.library import import_deepspeed


def start_ranks(
    ranks: Ranks, timeout_s: float, device: Literal["auto", "cuda", "cpu"] = "auto"
) -> torch.device:
    """Join the process group and return the device that this rank computes on.

    Args:
        ranks: Which process this is, as the launcher said.
        timeout_s: Longest that a collective, and the meeting of the ranks, may take.
        device: "auto" is a GPU where there is one, unless DS_ACCELERATOR=cpu.

    Raises:
        TrainError: The rendezvous port is taken, there are more ranks than GPUs, or a GPU that is
            asked for cannot be used.
    """
    settle_accelerator(device)
    return _join(ranks, timeout_s)


def _join(ranks: Ranks, timeout_s: float) -> torch.device:
    deepspeed = import_deepspeed()
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
    else:
        keep_freed_memory()
    backend = accelerator.communication_backend_name() or "gloo"
    if device.type != "cpu":
        # Decisions of the hosts travel beside what the devices exchange, as by PyTorch's default.
        backend = f"cpu:gloo,{device.type}:{backend}"
    if not has_group():
        _join_group(backend, ranks, device, datetime.timedelta(seconds=timeout_s))
    # DeepSpeed reads the local rank from the environment only, also where no launcher set it.
    os.environ.setdefault("LOCAL_RANK", str(ranks.local_rank))
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False)
    return device


def limit_groups(timeout_s: float) -> None:
    """Set the timeout of every process group that there is.

    DeepSpeed makes groups of its own, a copy of the whole world among them, with PyTorch's default
    of half an hour.

    Args:
        timeout_s: Longest that a collective may take.
    """
    if not has_group():
        return
    # Public since PyTorch 2.15, where the older name warns.
    set_timeout = getattr(distributed_c10d, "set_timeout", distributed_c10d._set_pg_timeout)
    for group in list(distributed_c10d._world.pg_map):
        set_timeout(datetime.timedelta(seconds=timeout_s), group)


def stop_ranks() -> None:
    """Leave the process group, at the end of the process."""
    if has_group():
        # DeepSpeed's own function, since it keeps references to the group.
        import_deepspeed().comm.destroy_process_group()


def _join_group(
    backend: str, ranks: Ranks, device: torch.device, timeout: datetime.timedelta
) -> None:
    if ranks.world_size > 1 and not {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        raise TrainError(
            "the ranks do not know where to meet",
            where="MASTER_ADDR and MASTER_PORT",
            got="not both set",
            expected="host and port of rank 0",
            hint="deepspeed and torchrun set them; with mpirun pass them by -x",
        )
    try:
        torch.distributed.init_process_group(
            backend,
            store=_store(ranks, timeout),
            rank=ranks.rank,
            world_size=ranks.world_size,
            timeout=timeout,
            # One rank has no peer that PyTorch could split communicators with.
            device_id=device if device.type == "cuda" and ranks.world_size > 1 else None,
        )
    except torch.distributed.DistNetworkError as error:
        raise TrainError(
            "the ranks cannot connect to each other",
            where=f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}",
            got=str(error).splitlines()[0],
            hint="another job may hold the port; pass another --master_port to deepspeed",
        ) from error


def _store(ranks: Ranks, timeout: datetime.timedelta) -> Store | None:
    """Return where the ranks meet; None is a server on the main rank."""
    if ranks.world_size == 1:
        # A single process meets nobody, so it needs no port.
        return HashStore()
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    # torchrun serves one store for all its attempts. Without a prefix of its own, an attempt
    # connects to addresses that processes of the one before have left in it.
    served = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        ranks.world_size,
        is_master=False,
        wait_for_workers=False,
        timeout=timeout,
    )
    return PrefixStore(f"retfm_dist/attempt_{restart_count()}", served)
