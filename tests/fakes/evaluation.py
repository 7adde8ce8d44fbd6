"""A small archive, an export and a config, made of drawn discs."""

import csv
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from retfm_dist.config.load import check_config
from retfm_dist.config.schema import ModelConfig
from retfm_dist.durable import sha256_file, write_json
from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.export.architecture import Architecture, encoder_state, timm_config
from retfm_dist.model.mae import MaskedAutoencoder, init_weights

TINY = Architecture(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=3)
MAE = {
    **vars(TINY), "decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2,
    "mask_ratio": 0.75, "norm_pix_loss": True,
}  # fmt: skip
COLUMNS = ("image_path", "patient_id", "eye", "site", "label_bright", "label_noise")


def draw_disc(rng: np.random.Generator, *, bright: bool) -> Image.Image:
    """A photograph of 96 px: a disc with some texture; bright ones are brighter on average."""
    rows, columns = np.mgrid[:96, :96]
    inside = (rows - 47.5) ** 2 + (columns - 47.5) ** 2 < 44**2
    level = 120 + 30 * bright + rng.normal(0, 12)
    texture = rng.normal(0, 6, (96, 96, 1)) * np.ones(3)
    pixels = (np.array([1.0, 0.6, 0.35]) * level + texture) * inside[:, :, None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def draw_clouds(seed: int = 0) -> Image.Image:
    """A disc with large light and dark areas, as a photograph has and a flat disc has not."""
    rng = np.random.default_rng(seed)
    clouds = Image.fromarray(rng.integers(60, 200, (7, 7)).astype(np.uint8))
    level = np.asarray(clouds.resize((500, 500), Image.Resampling.BICUBIC), float)
    y, x = np.mgrid[:500, :500]
    inside = (y - 249.5) ** 2 + (x - 249.5) ** 2 < 240**2
    pixels = level[:, :, None] * np.array([1.0, 0.6, 0.35]) * inside[:, :, None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_archive(root: Path, *, num_patients: int = 28, seed: int = 0) -> Path:
    """Write images/ and table.csv: two eyes per patient, half the patients bright."""
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    rows = []
    for patient in range(num_patients):
        bright, noise = patient % 2, int(patient % 4 in (1, 2))
        for eye in ("left", "right"):
            path = f"images/{patient:03d}_{eye}.png"
            draw_disc(rng, bright=bool(bright)).save(root / path)
            rows.append((path, f"HOSP{patient:05d}", eye, "north", bright, noise))
    write_table(root / "table.csv", rows)
    return root / "table.csv"


def write_table(path: Path, rows, columns=COLUMNS) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def read_table(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))[1:]


def mae_state(seed: int = 0) -> dict[str, torch.Tensor]:
    model = MaskedAutoencoder(ModelConfig(**MAE))
    init_weights(model, seed)
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def write_tiny_export(path: Path, seed: int = 0) -> Path:
    """Write the two files of an export that loading needs, and a provenance."""
    path.mkdir(parents=True)
    save_file(encoder_state(mae_state(seed)), path / "model.safetensors")
    write_json(path / "config.json", timm_config(TINY))
    facts = {"run": "tiny", "step": 7, "images_seen": 448, "config_hash": "c0" * 32}
    files = {path.name: sha256_file(path) for path in path.iterdir()}
    write_json(path / "provenance.json", {**facts, "data_fingerprint": "f0" * 32, "files": files})
    return path


def evaluation(root: Path, **changes) -> dict:
    """Plain values of a config over `write_archive(root)` and `write_tiny_export(root / "export")`."""
    return {
        "name": "Discs",
        "seed": 0,
        "out": str(root / "out"),
        "models": [
            {"kind": "export", "id": "tiny", "path": str(root / "export")},
            {"kind": "random_init", "id": "start", "like": "tiny", "seed": 3},
            {"kind": "handcrafted", "id": "floor"},
        ],
        "tables": {"discs": {"path": str(root / "table.csv"), "images": str(root)}},
        "tasks": [
            {
                "id": name,
                "title": f"Is it {name}?",
                "table": "discs",
                "label": {"column": f"label_{name}", "positive": [1], "negative": [0]},
            }
            for name in ("bright", "noise")
        ],
        "protocols": {
            "knn": {"k": [5], "temperature": 0.07},
            "linear": {"c_grid": [0.01, 1.0], "inner_folds": 2},
        },
        "folds": 4,
        "bootstrap": {"num_resamples": 200, "alpha": 0.05},
        **changes,
    }


def checked(values: dict) -> EvaluateConfig:
    return check_config(values, EvaluateConfig, where="test")


def results(root):
    """AUROC by model, task and protocol of the evaluation in root/out."""
    metrics = json.loads((root / "out" / "metrics.json").read_text())
    return {
        (r["model"], r["task"], r["protocol"]): r["metrics"]["auroc"] for r in metrics["results"]
    }
