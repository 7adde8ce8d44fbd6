"""Features of patients' eyes with a planted effect, or with none."""

import numpy as np


def cohort(seed=0, *, num_patients=60, width=16, effect=0.0):
    """Features of two eyes per patient; eyes share a random part, classes differ by `effect`."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(num_patients), 2)
    labels = np.repeat(rng.permutation(np.arange(num_patients) % 2), 2)
    shared = np.repeat(rng.normal(size=(num_patients, width)), 2, axis=0)
    features = shared + 0.3 * rng.normal(size=(2 * num_patients, width))
    features[:, 0] += effect * labels
    return features, labels, patients
