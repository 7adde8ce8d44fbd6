"""Predictions with a planted effect, or with none."""

import numpy as np

from retfm_dist.evaluate.predictions import Predictions


def predictions(seed=0, *, num_patients=40, effect=1.0, num_repeats=6, **changes):
    """Two images per patient; `effect` is half the distance of the classes in standard deviations."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_patients) % 2, 2)
    logits = rng.normal(effect * (2 * labels - 1))
    # Repeats of a cross-validation agree but for their fits.
    noisy = logits + 0.1 * rng.normal(size=(num_repeats, len(labels)))
    scores = 1 / (1 + np.exp(-noisy))
    folds = [np.repeat(rng.permutation(num_patients) % 4, 2) for _ in range(num_repeats)]
    values = {
        "model": "m",
        "task": "t",
        "protocol": "linear",
        "uids": np.array([f"{i:016x}" for i in range(2 * num_patients)]),
        "subject_ids": np.repeat([f"{i:012x}" for i in range(num_patients)], 2),
        "labels": labels,
        "probabilities": np.stack([1 - scores, scores], axis=-1),
        "folds": np.array(folds),
        "fits": ({"c": 0.1, "c_at_grid_edge": False, "converged": True},),
    }
    return Predictions(**{**values, **changes})


def fixed_predictions(seed=0, **options):
    """Predictions of a model that never saw these patients."""
    return predictions(seed, num_repeats=1, **{"folds": None, **options})
