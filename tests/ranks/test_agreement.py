import pytest
import torch

from retfm_dist.errors import DataError, SystemFailureError
from retfm_dist.ranks.agreement import from_main, gather_each, highest
from retfm_dist.ranks.world import Ranks


def test_a_single_process_decides_for_itself():
    assert gather_each(torch.tensor([2.5, 1.0])).tolist() == [[2.5, 1.0]]
    assert highest([7, 0]) == [7, 0]
    assert from_main(lambda: {"step": 3}, ranks=Ranks()) == {"step": 3}


def test_what_the_main_rank_refuses_is_refused():
    def refuse():
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        from_main(refuse, ranks=Ranks())


def test_what_the_system_refuses_the_main_rank_is_one_message(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        SystemFailureError, match="file/x: cannot be read or written; got Not a dir"
    ):
        from_main(lambda: (tmp_path / "file" / "x").write_text(""), ranks=Ranks())
