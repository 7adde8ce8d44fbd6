from pathlib import Path

import numpy as np

from retfm_dist.evaluate.replicates import arrange_replicates


def test_rows_in_any_order_are_arranged_by_the_first_replicate():
    images = np.array(["a", "b", "c", "c", "a", "b"])
    seeds = np.array([5, 5, 5, 7, 7, 7])
    found = arrange_replicates(
        images, images, np.array([0, 1, 0, 0, 0, 1]),
        repeats=None, seeds=seeds, folds=None, where=Path("x"),
    )  # fmt: skip
    assert found.rows.tolist() == [[0, 1, 2], [4, 5, 3]]
    assert (found.has_seeds, found.folds) == (True, None)
