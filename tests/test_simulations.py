"""The promises of docs/statistics.md, simulated anew; run with -m exhaustive."""

import numpy as np
import pytest

from benchmarks.simulations.coverage import cells
from benchmarks.simulations.decisions import decisions
from benchmarks.simulations.metrics import metrics_cells

REPETITIONS = 400
# Three standard errors around 93 % and 97 %, and around 5 %.
LOWEST, HIGHEST, MOST_FALSE = 0.93 - 3 * 0.011, 0.97 + 3 * 0.0085, 0.05 + 3 * 0.011
CELLS, DECISIONS, METRICS = list(cells()), list(decisions()), list(metrics_cells())

# The votes of neighbors among 200 patients take a quarter of an hour a situation.
pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("index", range(len(CELLS)), ids=[cell.name for cell in CELLS])
def test_intervals_cover_the_truth(index):
    cell = CELLS[index]
    outcomes = [
        cell.simulate(cell, np.random.default_rng([index, seed])) for seed in range(REPETITIONS)
    ]
    given = [outcome for outcome in outcomes if outcome is not None]
    assert LOWEST <= np.mean(given) <= HIGHEST


@pytest.mark.parametrize("index", range(len(METRICS)), ids=[cell.name for cell in METRICS])
def test_intervals_of_other_metrics_cover_the_truth(index):
    outcomes = [
        METRICS[index].simulate(np.random.default_rng([2000 + index, seed]))
        for seed in range(REPETITIONS)
    ]
    for name in outcomes[0]:
        given = [outcome[name] for outcome in outcomes if outcome[name] is not None]
        if METRICS[index].name.startswith("two classes, 2 seeds"):
            assert not given, name
            continue
        assert LOWEST <= np.mean(given) <= HIGHEST, name


@pytest.mark.parametrize("index", range(len(DECISIONS)), ids=[d.name for d in DECISIONS])
def test_claims_are_rarely_false_and_mostly_found(index):
    decision = DECISIONS[index]
    outcomes = [
        decision.simulate(np.random.default_rng([1000 + index, seed]))
        for seed in range(REPETITIONS)
    ]
    rate = np.mean([outcome for outcome in outcomes if outcome is not None])
    if decision.is_true:
        assert rate >= 0.8
    else:
        assert rate <= MOST_FALSE
