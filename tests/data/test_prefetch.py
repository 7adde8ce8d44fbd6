import threading
from collections.abc import Iterator

import pytest

from retfm_dist.data.prefetch import Prefetcher


def test_items_arrive_in_order_and_end():
    prefetcher = Prefetcher(iter(range(100)), depth=3, name="test")
    assert list(prefetcher) == list(range(100))
    assert list(prefetcher) == []
    prefetcher.close()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_the_thread_works_ahead_as_far_as_it_may_and_no_further(depth):
    begun = []
    may_go_on = threading.Semaphore(0)

    def items() -> Iterator[int]:
        for number in range(20):
            begun.append(number)
            may_go_on.release()
            yield number

    prefetcher = Prefetcher(items(), depth=depth, name="test")
    # `depth` items held ready and one more made that finds no room.
    for _ in range(depth + 1):
        assert may_go_on.acquire(timeout=5)
    assert not may_go_on.acquire(timeout=0.05)
    assert begun == list(range(depth + 1))
    assert next(prefetcher) == 0
    assert may_go_on.acquire(timeout=5)
    assert begun == list(range(depth + 2))
    prefetcher.close()


def test_an_error_comes_after_the_items_before_it_and_again_at_each_call():
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    prefetcher = Prefetcher(items(), depth=4, name="test")
    assert next(prefetcher) == 1
    for _ in range(2):
        with pytest.raises(KeyError, match="broken"):
            next(prefetcher)
    prefetcher.close()


def test_closing_ends_a_thread_that_waits_for_room_and_closes_its_items():
    closed_in = []

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed_in.append(threading.current_thread().name)

    prefetcher = Prefetcher(items(), depth=2, name="the-worker")
    next(prefetcher)
    prefetcher.close()
    prefetcher.close()
    assert closed_in == ["the-worker"]
    assert "the-worker" not in [thread.name for thread in threading.enumerate()]
    assert list(prefetcher) == []


def test_closing_wakes_a_consumer_that_waits():
    gate = threading.Event()

    def items() -> Iterator[int]:
        gate.wait(5)
        yield 1

    prefetcher = Prefetcher(items(), depth=1, name="test")
    got: list[list[int]] = []
    consumer = threading.Thread(target=lambda: got.append(list(prefetcher)))
    consumer.start()
    closer = threading.Thread(target=prefetcher.close)
    closer.start()
    consumer.join(5)
    assert got == [[]]
    gate.set()
    closer.join(5)
    assert not closer.is_alive()


def test_a_thread_that_hangs_is_left_behind_with_a_warning(caplog):
    gate = threading.Event()

    def items() -> Iterator[int]:
        gate.wait(30)
        yield 1

    prefetcher = Prefetcher(items(), depth=1, name="the-stuck")
    prefetcher.close(timeout_s=0.05)
    assert "thread the-stuck has not ended within 0.05 s" in caplog.text
    gate.set()
    prefetcher.close()


class FailingSource:
    """Two items, and an exception when it is closed."""

    def __init__(self, *, fail_early: bool) -> None:
        self._items = iter([1, 2])
        self._fail_early = fail_early

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if self._fail_early:
            raise ValueError("while reading")
        return next(self._items)

    def close(self) -> None:
        raise OSError("while closing")


def test_a_source_that_fails_to_close_is_an_error_and_no_hang():
    prefetcher = Prefetcher(FailingSource(fail_early=False), depth=1, name="test")
    assert [next(prefetcher), next(prefetcher)] == [1, 2]
    with pytest.raises(OSError, match="while closing"):
        next(prefetcher)
    prefetcher.close(timeout_s=5)


def test_the_first_error_is_the_one_that_is_told():
    prefetcher = Prefetcher(FailingSource(fail_early=True), depth=1, name="test")
    with pytest.raises(ValueError, match="while reading"):
        next(prefetcher)


def test_a_depth_of_zero_is_refused():
    with pytest.raises(AssertionError, match="depth is 0"):
        Prefetcher(iter([]), depth=0, name="test")
