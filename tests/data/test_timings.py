import pytest

from retfm_dist.data.timings import Timings


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_blocks_add_up_by_name_until_they_are_taken():
    clock = FakeClock()
    timings = Timings(("wait_s", "read_s"), clock=clock)
    for elapsed_s in (1.5, 2.0):
        with timings.measure("wait_s"):
            clock.now_s += elapsed_s
    clock.now_s += 50
    assert timings.take() == {"wait_s": 3.5, "read_s": 0.0}
    assert timings.take() == {"wait_s": 0.0, "read_s": 0.0}


def test_a_block_that_fails_counts():
    clock = FakeClock()
    timings = Timings(("read_s",), clock=clock)

    def fail() -> None:
        with timings.measure("read_s"):
            clock.now_s += 2
            raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        fail()
    assert timings.take() == {"read_s": 2.0}


def test_an_unknown_name_is_refused():
    with pytest.raises(KeyError, match="typo_s"), Timings(("read_s",)).measure("typo_s"):
        pass
