"""The user's commands in a row, as processes: cohort, shards, training, export, evaluation."""

import json
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from retfm_dist.durable import sha256_file
from retfm_dist.image.square import read_square
from tests.fakes.processes import CONFIG, LIMIT_S, ROOT, environment, free_port

pytestmark = pytest.mark.slow

EVALUATION = """
name: whole pipeline
seed: 0
out: report
models:
  - {kind: export, id: mae, path: export}
  - {kind: random_init, id: chance, like: mae, seed: 0}
tables:
  eyes: {path: cohort/cohort.csv, images: cohort}
tasks:
  - id: dr
    title: Diabetic retinopathy
    table: eyes
    label: {column: label_dr, positive: [1], negative: [0]}
protocols:
  knn: {k: [3], temperature: 0.07}
  linear: {c_grid: [0.01, 1.0], inner_folds: 2}
folds: 2
bootstrap: {num_resamples: 100, alpha: 0.05}
report: {pictures: true}
"""


def run(folder, *command):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    python = (sys.executable, "-m")
    run(
        folder,
        *python,
        "retfm_dist.synth",
        "--out",
        "cohort",
        "--patients-per-site",
        12,
        "--size",
        128,
        "--seed",
        0,
    )
    run(
        folder, *python, "retfm_dist.shard", "build", "--table", "cohort/cohort.csv", "--images", "cohort",
        "--out", "shards", "--size", 96,
    )  # fmt: skip
    run(
        folder, "deepspeed", "--num_accelerators", 2, "--master_port", free_port(), ROOT / "launch" / "pretrain.py",
        "--config", CONFIG, "--set", "data.shards=shards", "--set", "run.dir=run",
    )  # fmt: skip
    run(folder, *python, "retfm_dist.export", "run", "--out", "export")
    (folder / "eval.yaml").write_text(EVALUATION)
    run(folder, *python, "retfm_dist.evaluate", "run", "--config", "eval.yaml")
    return folder


def test_the_set_verifies_in_full(folder):
    assert "48 samples" in run(
        folder, sys.executable, "-m", "retfm_dist.shard", "verify", "shards", "--full"
    )


def test_the_loss_falls(folder):
    lines = [
        json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    assert len(losses) == 4
    assert losses[-1] < losses[0]


def test_timm_gives_the_features_that_were_evaluated(folder):
    model = timm.create_model(f"local-dir:{folder / 'export'}", pretrained=True).eval()
    size = model.patch_embed.img_size[0]
    mean, std = (torch.tensor(model.pretrained_cfg[name]).view(3, 1, 1) for name in ("mean", "std"))
    by_digest = {sha256_file(path): path for path in (folder / "cohort" / "images").iterdir()}
    differences = []
    for stored in (folder / "report" / "features").rglob("*.safetensors"):
        with safe_open(stored, framework="pt") as file:
            digests = json.loads(file.metadata()["images"])
            features = file.get_tensor("features")
        if features.shape[1] != model.num_features:
            continue  # the perceptual hashes that copies are found by
        pixels = []
        for digest in digests:
            crop = read_square(by_digest[digest].read_bytes()).image
            resized = crop.resize((size, size), Image.Resampling.BICUBIC)
            pixels.append((torch.from_numpy(np.array(resized)).permute(2, 0, 1) / 255 - mean) / std)
        with torch.inference_mode():
            differences.append((model(torch.stack(pixels)) - features).abs().max().item())
    # One file of the trained model, one of the random one.
    assert sorted(difference < 1e-5 for difference in differences) == [False, True], differences


def test_retfound_file_loads_without_pickled_code(folder):
    weights = torch.load(folder / "export" / "retfound.pth", weights_only=True)["model"]
    exported = load_file(folder / "export" / "mae.safetensors")
    assert weights.keys() == exported.keys()
    assert all(torch.equal(weights[name], exported[name]) for name in weights)


def test_the_report_stands_alone(folder):
    html = (folder / "report" / "report.html").read_text()
    assert "AUROC" in html
    assert "<svg" in html
    assert 'src="http' not in html
    results = json.loads((folder / "report" / "metrics.json").read_text())["results"]
    assert len(results) == 4
    for result in results:
        auroc = result["metrics"]["auroc"]
        assert auroc["n_images"] == 48
        assert auroc["lo"] <= auroc["value"] <= auroc["hi"]
