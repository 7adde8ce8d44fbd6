"""Counts that may be printed."""

import numpy as np

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


def test_hidden_counts_tell_no_more_than_that_they_are_small():
    hidden = [cell_text(count, is_hidden=True) for count in (1, 9, 10, 500)]
    assert hidden == ["< 10", "< 10", "-", "-"]
    assert cell_text(1234, is_hidden=False) == "1,234"


def test_groups_are_printed_alike_with_and_without_classes():
    groups = [
        {"group": "female", "num_images": 2000, "num_patients": 1000, "num_positive_patients": 400},
        {"group": "male", "num_images": 14, "num_patients": 7, "num_positive_patients": 2},
        {"group": "missing", "num_images": 60, "num_patients": 30, "num_positive_patients": 12},
    ]
    assert [tuple(row.values()) for row in printable_groups("age_band", groups)] == [
        ("age band", "female", "2,000", "1,000", "400"),
        ("age band", "male", "-", "< 10", "< 10"),
        ("age band", "missing", "-", "-", "-"),
    ]
    bare = [
        {key: group[key] for key in ("group", "num_images", "num_patients")} for group in groups
    ]
    assert [tuple(row.values()) for row in printable_groups("sex", bare)] == [
        ("sex", "female", "2,000", "1,000"),
        ("sex", "male", "-", "< 10"),
        ("sex", "missing", "-", "-"),
    ]
