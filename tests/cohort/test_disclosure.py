"""Counts that may be printed."""

import itertools

import numpy as np
import pytest

from retfm_dist.cohort import disclosure
from retfm_dist.cohort.disclosure import cell_text, hidden_cells, printable_groups


def test_no_small_group_can_be_worked_out_from_the_total():
    rng = np.random.default_rng(0)
    for _ in range(300):
        counts = rng.integers(1, 30, size=int(rng.integers(2, 7))).tolist()
        hidden = hidden_cells(counts)
        unknown = [count for count, hide in zip(counts, hidden, strict=True) if hide]
        assert all(hide for count, hide in zip(counts, hidden, strict=True) if count < 10)
        if min(counts) >= 10:
            assert not unknown
        else:
            assert len(unknown) >= 2
            assert sum(unknown) >= 10 or all(hidden)


def test_hidden_counts_tell_nothing():
    hidden = [cell_text(count, is_hidden=True) for count in (1, 9, 10, 500)]
    assert hidden == ["-", "-", "-", "-"]
    assert cell_text(1234, is_hidden=False) == "1,234"


def test_groups_are_printed_alike_with_and_without_classes():
    groups = [
        {"group": "female", "num_images": 2000, "num_patients": 1000, "num_positive_patients": 400},
        {"group": "male", "num_images": 14, "num_patients": 7, "num_positive_patients": 2},
        {"group": "missing", "num_images": 60, "num_patients": 30, "num_positive_patients": 12},
    ]
    assert [tuple(row.values()) for row in printable_groups("age_band", groups)] == [
        ("age band", "female", "2,000", "1,000", "400"),
        ("age band", "male", "-", "-", "-"),
        ("age band", "missing", "-", "-", "-"),
    ]
    bare = [
        {key: group[key] for key in ("group", "num_images", "num_patients")} for group in groups
    ]
    assert [tuple(row.values()) for row in printable_groups("sex", bare)] == [
        ("sex", "female", "2,000", "1,000"),
        ("sex", "male", "-", "-"),
        ("sex", "missing", "-", "-"),
    ]


@pytest.mark.parametrize("num_groups", [2, 3])
def test_no_hidden_count_can_be_recovered_from_the_printed_table_and_its_totals(
    monkeypatch, num_groups
):
    """All tables of groups of up to 5 patients, where counts below 3 are small.

    An attacker knows the totals and the printed table: at least two tables must explain them for
    every small count, unless the total itself is small. (That he may also know in which order
    groups are hidden is not counted.)
    """
    monkeypatch.setattr(disclosure, "SMALLEST_CELL", 3)
    cells = [(n, p) for n in range(1, 6) for p in range(n + 1)]
    by_total = {}
    for table in itertools.product(cells, repeat=num_groups):
        by_total.setdefault(tuple(np.sum(table, axis=0).tolist()), []).append(np.array(table))
    for (num_patients, num_positive), tables in by_total.items():
        stacked = np.array(tables)
        for table in tables:
            rows = printable_groups(
                "sex",
                [
                    {"group": "g", "num_images": n, "num_patients": n, "num_positive_patients": p}
                    for n, p in table.tolist()
                ],
            )
            shown = np.array([[row["num_patients"], row["num_positive_patients"]] for row in rows])
            known = shown != "-"
            fits = (stacked == table)[:, known].all(axis=1)
            for g, (n, p) in enumerate(table.tolist()):
                if n < 3 and num_patients > 3:
                    assert len(np.unique(stacked[fits, g, 0])) > 1, (table, shown)
                if min(p, n - p) < 3 and min(num_positive, num_patients - num_positive) >= 3:
                    assert len(np.unique(stacked[fits, g, 1])) > 1, (table, shown)
