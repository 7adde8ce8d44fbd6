import pytest

from retfm_dist.distributed import (
    Ranks,
    first_rank_where,
    from_main,
    ranks_from_environment,
)
from retfm_dist.errors import DataError, SystemFailureError


def test_the_launchers_variables_are_read(monkeypatch):
    for name, value in (("RANK", "3"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    assert ranks_from_environment() == Ranks(rank=3, local_rank=1, world_size=4)
    assert not ranks_from_environment().is_main


def test_a_single_process_is_the_main_rank(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert ranks_from_environment() == Ranks()
    assert Ranks().is_main


def test_a_single_process_decides_for_itself():
    assert first_rank_where(True, rank=0) == 0
    assert first_rank_where(False, rank=0) is None
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
