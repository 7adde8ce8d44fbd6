import threading
import time

import pytest

from retfm_dist.data.timed_calls import NotTriedError, TimedCalls


@pytest.fixture
def make():
    made = []

    def build(num_threads=3, timeout_s=10.0):
        made.append(TimedCalls(num_threads, timeout_s=timeout_s, name="retfm-test"))
        return made[-1]

    yield build
    for calls in made:
        calls.close()


def ignore(item, seconds):
    pass


@pytest.mark.parametrize("num_threads", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 5, 200])
def test_answers_come_in_the_order_of_the_items(make, num_threads, count):
    calls = make(num_threads)
    for _ in range(3):
        assert calls.map(lambda item: item * 2, range(count), on_wait=ignore) == [
            2 * item for item in range(count)
        ]


def test_calls_run_side_by_side(make):
    together = threading.Barrier(3, timeout=5)
    assert make(3).map(lambda _: together.wait() >= 0, range(3), on_wait=ignore) == [True] * 3


def test_one_thread_answers_what_is_quick(make):
    calls = make(4)
    threads = [
        set(calls.map(lambda _: threading.get_ident(), range(50), on_wait=ignore))
        for _ in range(20)
    ]
    # Now and then the system takes the processor away for a moment.
    assert min(len(found) for found in threads) == 1


def test_others_join_a_thread_that_has_to_wait(make):
    together = threading.Barrier(3, timeout=5)

    def call(item):
        return item if item < 100 else together.wait() >= 0

    answers = make(3).map(call, range(103), on_wait=ignore)
    assert answers == [*range(100), True, True, True]


def test_an_exception_is_the_answer_to_its_item(make):
    answers = make().map(lambda item: 6 // item, [1, 0, 2], on_wait=ignore)
    assert (answers[0], answers[2]) == (6, 3)
    assert isinstance(answers[1], ZeroDivisionError)


def test_what_takes_too_long_is_left_behind_and_the_rest_is_answered(make):
    release, waits = threading.Event(), []

    def call(item):
        if item == 4:
            release.wait(30)
        return item

    calls = make(2, timeout_s=0.3)
    begun_at = time.monotonic()
    answers = calls.map(
        call, range(20), on_wait=lambda item, seconds: waits.append((item, seconds))
    )
    assert time.monotonic() - begun_at < 5
    assert isinstance(answers[4], TimeoutError)
    assert [answers[i] for i in range(20) if i != 4] == [i for i in range(20) if i != 4]
    ((item, seconds),) = waits
    assert item == 4
    assert seconds < 0.3
    # Another thread has taken its place, and its late answer changes nothing.
    release.set()
    assert calls.map(call, [1, 4, 2], on_wait=ignore) == [1, 4, 2]
    assert isinstance(answers[4], TimeoutError)


def test_when_nothing_answers_the_rest_is_not_tried(make):
    release = threading.Event()
    calls = make(2, timeout_s=0.2)
    begun_at = time.monotonic()
    answers = calls.map(lambda _: release.wait(30), range(100), on_wait=ignore)
    release.set()
    assert time.monotonic() - begun_at < 5
    assert all(isinstance(answer, TimeoutError) for answer in answers)
    assert 2 <= sum(not isinstance(answer, NotTriedError) for answer in answers) <= 4


def test_threads_end_with_the_calls():
    calls = TimedCalls(3, timeout_s=5, name="retfm-test-end")
    calls.map(lambda item: item, range(3), on_wait=ignore)
    calls.close()
    assert not [t for t in threading.enumerate() if t.name == "retfm-test-end"]
