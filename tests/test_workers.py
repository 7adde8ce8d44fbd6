"""Mapping over worker processes: ordered, bounded, and failing in clear words."""

import os
import time

import pytest

from retfm_dist.errors import ShardError, WorkerError
from retfm_dist.workers import map_in_order, usable_cores


def square(number):
    time.sleep(0.002 * (number % 3))
    return number * number


def fail(number):
    raise ShardError("no luck", got=number)


def die(number):
    os._exit(3)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(workers):
    assert list(map_in_order(square, range(40), workers=workers)) == [n * n for n in range(40)]


def test_tasks_are_drawn_as_results_are_taken():
    drawn = []

    def tasks():
        for number in range(100):
            drawn.append(number)
            yield number

    results = map_in_order(square, tasks(), workers=2)
    assert next(results) == 0
    assert len(drawn) <= 9
    results.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_pass_through(workers):
    with pytest.raises(ShardError, match="no luck; got 0"):
        list(map_in_order(fail, range(3), workers=workers))


def test_a_dead_worker_is_an_error():
    with pytest.raises(WorkerError, match="a worker process died.*use fewer workers"):
        list(map_in_order(die, range(3), workers=2))


def test_there_is_a_core():
    assert usable_cores() >= 1
