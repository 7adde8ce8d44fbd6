"""Print the table of `docs/statistics.md`.

Examples:
    python -m benchmarks.simulations --repetitions 600
    python -m benchmarks.simulations --repetitions 4000 --only "3 seeds"
"""

import argparse
from multiprocessing import Pool

import numpy as np

from benchmarks.simulations.coverage import cells
from benchmarks.simulations.decisions import decisions
from benchmarks.simulations.metrics import metrics_cells


def _cover(task: tuple[int, int]) -> bool | None:
    index, seed = task
    cell = list(cells())[index]
    return cell.simulate(cell, np.random.default_rng([index, seed]))


def _decide(task: tuple[int, int]) -> bool | None:
    index, seed = task
    return list(decisions())[index].simulate(np.random.default_rng([1000 + index, seed]))


def _measure(task: tuple[int, int]) -> dict[str, bool | None]:
    index, seed = task
    return list(metrics_cells())[index].simulate(np.random.default_rng([2000 + index, seed]))


def rate(outcomes: list[bool | None]) -> tuple[float, float, float]:
    """Return the share of true outcomes, its standard error, and the share without an outcome."""
    given = [outcome for outcome in outcomes if outcome is not None]
    if not given:
        return float("nan"), float("nan"), 1.0
    share = float(np.mean(given))
    error = float(np.sqrt(max(share * (1 - share), 1e-9) / len(given)))
    return share, error, 1 - len(given) / len(outcomes)


def main() -> None:
    """Run every situation."""
    parser = argparse.ArgumentParser(description="Simulate intervals and tests of known truth.")
    parser.add_argument("--repetitions", type=int, default=400, help="per situation")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", metavar="TEXT", help="situations whose name has it")
    arguments = parser.parse_args()
    count = arguments.repetitions
    covers, measures, claims = (
        [(index, item) for index, item in enumerate(kind) if arguments.only in item.name]
        for kind in (cells(), metrics_cells(), decisions())
    )
    for _, cell in measures:
        cell.true_values()  # once, before the workers are forked
    with Pool(arguments.workers) as pool:
        print("| situation | covered | error | no interval |\n|---|---|---|---|")
        for index, cell in covers:
            tasks = [(index, seed) for seed in range(count)]
            share, error, none = rate(pool.map(_cover, tasks, chunksize=8))
            print(f"| {cell.name} | {share:.3f} | {error:.3f} | {none:.0%} |", flush=True)
        print("\n| situation | metric | covered | error | no interval |\n|---|---|---|---|---|")
        for index, cell in measures:
            tasks = [(index, seed) for seed in range(count)]
            found = pool.map(_measure, tasks, chunksize=8)
            for name in found[0]:
                share, error, none = rate([outcome[name] for outcome in found])
                row = f"| {cell.name} | {name} | {share:.3f} | {error:.3f} | {none:.0%} |"
                print(row, flush=True)
        print("\n| situation | claim is | claimed | error | no verdict |\n|---|---|---|---|---|")
        for index, decision in claims:
            tasks = [(index, seed) for seed in range(count)]
            share, error, none = rate(pool.map(_decide, tasks, chunksize=8))
            truth = "true" if decision.is_true else "false"
            row = f"| {decision.name} | {truth} | {share:.3f} | {error:.3f} | {none:.0%} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
