from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch

from retfm_dist.errors import TrainError
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.process_group import _join_group, start_ranks


def test_ranks_that_cannot_meet_say_so(monkeypatch):
    def refuse(*args, **kwargs):
        raise torch.distributed.DistNetworkError("address already in use")

    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    monkeypatch.setattr(torch.distributed, "init_process_group", refuse)
    with pytest.raises(
        TrainError, match="127.0.0.1:29500: .*cannot connect to each other.*in use.*--master_port"
    ):
        _join_group("gloo", Ranks(rank=0, world_size=2), torch.device("cpu"), timedelta(1))


def test_more_ranks_than_gpus_are_refused(monkeypatch):
    accelerator = SimpleNamespace(device_name=lambda *rank: "cuda", device_count=lambda: 2)
    fake = SimpleNamespace(accelerator=SimpleNamespace(get_accelerator=lambda: accelerator))
    monkeypatch.setattr("retfm_dist.train.engine.process_group.import_deepspeed", lambda: fake)
    with pytest.raises(TrainError, match="rank 5: more ranks than .*got local rank 2.*below 2"):
        start_ranks(Ranks(rank=5, local_rank=2, world_size=8), timeout_s=9)


def test_ranks_that_do_not_know_where_to_meet_say_so(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(TrainError, match="MASTER_PORT: the ranks do not know where to meet"):
        _join_group("gloo", Ranks(rank=1, world_size=2), torch.device("cpu"), timedelta(1))
