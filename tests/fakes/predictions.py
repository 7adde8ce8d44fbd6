"""Predictions with a planted effect, or with none."""

import numpy as np

from retfm_dist.evaluate.predictions import Predictions


def predictions(seed=0, *, num_patients=40, effect=1.0):
    """Two images per patient; `effect` is half the distance of the classes in standard deviations."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_patients) % 2, 2)
    scores = 1 / (1 + np.exp(-rng.normal(effect * (2 * labels - 1))))
    return Predictions(
        model="m",
        task="t",
        protocol="linear",
        uids=np.array([f"{i:016x}" for i in range(2 * num_patients)]),
        subject_ids=np.repeat([f"{i:012x}" for i in range(num_patients)], 2),
        labels=labels,
        scores=scores,
        folds=np.arange(2 * num_patients) // 4 % 4,
        fits=({"c": 0.1, "c_at_grid_edge": False, "converged": True},),
    )
