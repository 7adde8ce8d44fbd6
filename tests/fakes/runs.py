"""Runs as training leaves them, with a model small enough to test with."""

from pathlib import Path

import torch

from retfm_dist.config.load import check_config, to_yaml
from retfm_dist.config.schema import ModelConfig, PretrainConfig
from retfm_dist.model.mae import MaskedAutoencoder, init_weights
from tests.fakes.checkpoints import write_checkpoint

TINY = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
    "decoder_embed_dim": 16,
    "decoder_depth": 1,
    "decoder_num_heads": 2,
    "mask_ratio": 0.75,
    "norm_pix_loss": True,
}
FINGERPRINT = "5a" * 32


def pretrain_config(run_dir: Path, *, shards: Path | str = "shards/none", **run) -> PretrainConfig:
    values = {
        "run": {"dir": str(run_dir), "seed": 0, "init_from": None, **run},
        "data": {"shards": str(shards), "crop_scale": [0.2, 1.0]},
        "model": TINY,
        "optimizer": {"base_lr": 1e-3, "weight_decay": 0.05},
        "schedule": {
            "duration": "9 steps",
            "warmup": "1 steps",
            "global_batch_size": 64,
            "micro_batch_size": 8,
        },
        "engine": {"precision": "fp32"},
        "checkpoint": {"every": "3 steps"},
        "log": {"every": "1 steps", "reconstructions_every": "0 steps"},
    }
    return check_config(values, PretrainConfig, where="test")


def trained_model(seed: int) -> MaskedAutoencoder:
    """A model whose norms and biases are not the identity, so that leaving one out shows."""
    model = MaskedAutoencoder(ModelConfig(**TINY))
    init_weights(model, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def write_run(
    run_dir: Path, *, steps=(3, 6), weights=None, average=None, state=None, **config
) -> PretrainConfig:
    """Write a run whose checkpoint of step s is `trained_model(s)`."""
    resolved = pretrain_config(run_dir, **config)
    run_dir.mkdir(parents=True)
    (run_dir / "config.yaml").write_text(to_yaml(resolved))
    for step in steps:
        trained = {name: t.detach().clone() for name, t in trained_model(step).state_dict().items()}
        write_checkpoint(
            run_dir / "checkpoints" / f"step_{step:08d}",
            weights=weights or trained,
            moments={"exp_avg": {}, "exp_avg_sq": {}, "average": average or {}},
            state={
                "step": step,
                "images_seen": 64 * step,
                "data": {"dataset_fingerprint": FINGERPRINT},
                **(state or {}),
            },
        )
    return resolved
