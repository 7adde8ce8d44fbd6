import pytest
from torch.distributed import DistBackendError

from retfm_dist.errors import DataError, TrainError
from retfm_dist.ranks.failure import failing_once, is_lost_rank
from retfm_dist.ranks.world import Ranks


def test_the_main_rank_speaks_at_once():
    waits = []
    with pytest.raises(DataError, match="bad"), failing_once(Ranks(), sleep=waits.append):
        raise DataError("bad")
    assert waits == []


def test_the_others_leave_it_time_to():
    waits = []
    ranks = Ranks(rank=1, world_size=2)
    with pytest.raises(DataError, match="bad"), failing_once(ranks, sleep=waits.append):
        raise DataError("bad")
    assert len(waits) == 1


def test_a_lost_peer_is_one_line_and_a_defect_keeps_its_traceback():
    waits = []
    with pytest.raises(TrainError, match="rank 0: another rank has exited"):  # noqa: SIM117
        with failing_once(Ranks(world_size=2), sleep=waits.append):
            raise RuntimeError("gloo: Connection closed by peer [127.0.0.1]:1234")
    assert len(waits) == 1
    remote = "NCCL error in: ProcessGroupNCCL.cpp:93, remote process exited or there was a network"
    assert is_lost_rank(
        DistBackendError(f"{remote} error, NCCL version 2.29\nncclRemoteError: ...")
    )
    assert is_lost_rank(DistBackendError("NCCL communicator was aborted on rank 3."))
    assert not is_lost_rank(DistBackendError("NCCL error: ncclInvalidUsage: wrong arguments"))
    with pytest.raises(RuntimeError, match="shapes"), failing_once(Ranks(), sleep=waits.append):
        raise RuntimeError("shapes do not fit")
    assert len(waits) == 1
