import pytest

from retfm_dist.ranks.world import Ranks, ranks_from_environment, spans_hosts


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


def test_open_mpis_variables_count_where_no_launcher_set_its_own(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("RANK", "5"), ("LOCAL_RANK", "1"), ("SIZE", "8")):
        monkeypatch.setenv(f"OMPI_COMM_WORLD_{name}", value)
    assert ranks_from_environment() == Ranks(rank=5, local_rank=1, world_size=8)
    monkeypatch.setenv("RANK", "2")
    assert ranks_from_environment().rank == 2


@pytest.mark.parametrize("name", ["LOCAL_WORLD_SIZE", "LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"])
def test_several_hosts_are_seen_by_what_launchers_say_of_one(monkeypatch, name):
    for other in ("LOCAL_WORLD_SIZE", "LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"):
        monkeypatch.delenv(other, raising=False)
    assert not spans_hosts(Ranks(world_size=16))
    monkeypatch.setenv(name, "8")
    assert spans_hosts(Ranks(world_size=16))
    assert not spans_hosts(Ranks(world_size=8))
