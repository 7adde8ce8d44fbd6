"""Prediction files as other people's programs write them."""

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet


def write_file(
    path: Path, *, effect=1.5, seed=1, cohort=0, num_patients=200, rare_sex=None, drop=(),
    is_regression=False,
) -> Path:  # fmt: skip
    """Two eyes per patient; files of one `cohort` are about the same images."""
    rng = np.random.default_rng(cohort)
    labels = np.repeat((rng.random(num_patients) < 0.4).astype(int), 2)
    shared = np.repeat(rng.normal(size=num_patients), 2)
    sex = np.where(rng.random(num_patients) < 0.5, "F", "M")
    if rare_sex is not None:
        sex = np.where(np.arange(num_patients) < rare_sex, "M", "F")
    split = np.where(rng.random(num_patients) < 0.3, "val", "test")
    age = rng.integers(40, 60, num_patients)
    noise = np.random.default_rng(seed).normal(size=2 * num_patients)
    p = 1 / (1 + np.exp(-(effect * labels + 0.5 * shared + 0.8 * noise - 0.7)))
    columns = {
        "image_id": [f"{cohort}-{i}" for i in range(2 * num_patients)],
        "patient_id": [f"{cohort}-{i // 2}" for i in range(2 * num_patients)],
        "y": labels, "p_0": 1 - p, "p_1": p, "eye": ["left", "right"] * num_patients,
        "sex": np.repeat(sex, 2), "age": np.repeat(age, 2), "split": np.repeat(split, 2),
    }  # fmt: skip
    if is_regression:
        columns |= {"y": 60 + 5 * shared, "prediction": 60 + 4 * shared + noise}
        drop = (*drop, "p_0", "p_1")
    kept = {name: list(v) for name, v in columns.items() if name not in drop}
    pyarrow.parquet.write_table(pyarrow.table(kept), path)
    return path
