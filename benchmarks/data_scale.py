"""What the order of samples costs and touches at scale: a simulation, no file is read.

    python -m benchmarks.data_scale [--json FILE]

Full size: 10^8 samples in 10^5 tars, a global batch of 2,048 over 1,024 ranks on 128 hosts. For one
whole shuffle and for lanes with windows: the time to plan a step on a rank and the memory that it
takes, and how many tars the batches of 50 consecutive steps lie in, on all hosts and on one. On
10^6 samples in 10^3 tars on 16 hosts, where an epoch can be walked through: tars fetched over tars
there are, where a host keeps what it has fetched for 50 steps, and the share of samples seen.
"""

import argparse
import statistics
import time
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np

from benchmarks.rows import Row, machine_name, report
from retfm_dist.data.lanes import Shuffle
from retfm_dist.data.order import SampleOrder

SAMPLES_PER_TAR = 1_000
GLOBAL_BATCH_SIZE = 2_048
STEPS = 50
SHUFFLES = {
    "whole shuffle": Shuffle(seed=0),
    "128 lanes, windows of 4,000": Shuffle(seed=0, lanes=128, window=4_000),
    "1,024 lanes, windows of 4,000": Shuffle(seed=0, lanes=1_024, window=4_000),
}


def main() -> None:
    """Simulate every shuffle and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name, shuffle in SHUFFLES.items():
        rows += simulate_steps(name, shuffle, num_tars=100_000, num_hosts=128)
        rows += simulate_epoch(name, shuffle, num_tars=1_000, num_hosts=16)
    report("The order of samples at scale", rows, arguments.json)


def make_order(shuffle: Shuffle, num_tars: int) -> SampleOrder:
    """Return the order of tars of equal size."""
    starts = np.arange(num_tars + 1) * SAMPLES_PER_TAR
    return SampleOrder([starts], GLOBAL_BATCH_SIZE, shuffle)


def simulate_steps(name: str, shuffle: Shuffle, *, num_tars: int, num_hosts: int) -> list[Row]:
    """Plan consecutive steps in the middle of an epoch."""
    memory_mb = measure_memory(shuffle, num_tars)
    order = make_order(shuffle, num_tars)
    first = order.steps_per_epoch // 2
    begun_at = time.process_time()
    order.draws(first)  # lays out the tars of the epoch
    first_s = time.process_time() - begun_at
    seconds, tars, of_a_host, of_batches = [], set(), set(), []
    for step in range(first, first + STEPS):
        begun_at = time.process_time()
        positions = order.draws(step).positions
        seconds.append(time.process_time() - begun_at)
        numbers = positions // SAMPLES_PER_TAR
        tars.update(numbers.tolist())
        of_batches.append(len(np.unique(numbers)))
        of_a_host.update(numbers.reshape(num_hosts, -1)[0].tolist())
    machine = machine_name()
    label = f"{name}, {num_tars:,} tars"
    step_ms = 1e3 * statistics.median(seconds)
    return [
        Row(f"plan a step: {label}", step_ms, "ms", "", 1.0, step_ms, machine),
        Row(f"plan an epoch's first: {label}", 1e3 * first_s, "ms", "", 1.0, step_ms, machine),
        Row(f"memory: {label}", memory_mb, "MB", "", 1.0, memory_mb, machine),
        Row(f"tars in a batch: {label}", of_batches[0], "tars", "", 1.0, num_tars, machine),
        Row(f"tars in {STEPS} steps: {label}", len(tars), "tars", "", 1.0, num_tars, machine),
        Row(f"of which one host: {label}", len(of_a_host), "tars", "", 1.0, num_tars, machine),
    ]


def measure_memory(shuffle: Shuffle, num_tars: int) -> float:
    """Return the largest memory that making an order and planning steps takes, MB."""
    tracemalloc.start()
    order = make_order(shuffle, num_tars)
    for step in range(3):
        order.draws(order.steps_per_epoch + step)
    memory_mb = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return memory_mb


def simulate_epoch(name: str, shuffle: Shuffle, *, num_tars: int, num_hosts: int) -> list[Row]:
    """Walk through an epoch; each host keeps a tar until it has not used it for some steps."""
    order = make_order(shuffle, num_tars)
    kept: list[OrderedDict[int, int]] = [OrderedDict() for _ in range(num_hosts)]
    num_fetched, seen = 0, np.zeros(num_tars * SAMPLES_PER_TAR, dtype=bool)
    for step in range(order.steps_per_epoch):
        positions = order.draws(step).positions
        seen[positions] = True
        parts = (positions // SAMPLES_PER_TAR).reshape(num_hosts, -1)
        for host, part in zip(kept, parts, strict=True):
            for tar in np.unique(part).tolist():
                num_fetched += tar not in host
                host[tar] = step
                host.move_to_end(tar)
            while next(iter(host.values())) < step - STEPS:
                host.popitem(last=False)
    machine, label = machine_name(), f"{name}, {num_tars:,} tars, {num_hosts} hosts"
    amplification, coverage = num_fetched / num_tars, 100 * float(seen.mean())
    return [
        Row(f"fetched over there are: {label}", amplification, "x", "", 1.0, 1.0, machine),
        Row(f"samples seen: {label}", coverage, "%", "", 1.0, 100.0, machine),
    ]


if __name__ == "__main__":
    main()
