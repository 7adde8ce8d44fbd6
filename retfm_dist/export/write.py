"""Write a checkpoint in the three forms that others load, with its provenance.

EXPORT_DIR/
    model.safetensors    encoder under timm's names, fp32
    config.json          timm's description: timm.create_model("local-dir:EXPORT_DIR", ...)
    retfound.pth         {"model": full MAE state dict, "num_heads": ...}, as MAE's loaders take it
    mae.safetensors      the same state dict, decoder included
    membership.npz       keyed hashes of the images and patients trained on, where the run has them
    README.md            model card
    provenance.json      run, step, data, versions, sha256 of every other file; written last
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from retfm_dist.cohort.membership import (
    MEMBERSHIP_NAME,
    Membership,
    read_membership,
    write_membership,
)
from retfm_dist.config.load import config_hash, read_config
from retfm_dist.config.schema import ModelConfig, PretrainConfig
from retfm_dist.directories import equalize_permissions, staged_directory
from retfm_dist.durable import sha256_file, write_json, write_text
from retfm_dist.errors import CheckpointError, ExportError
from retfm_dist.export.architecture import Architecture, encoder_state, timm_config
from retfm_dist.export.card import render_card
from retfm_dist.export.load import CONFIG_NAME, PROVENANCE_NAME, WEIGHTS_NAME
from retfm_dist.model.mae import MaskedAutoencoder
from retfm_dist.train.checkpoint.folder import find_checkpoint, list_checkpoints, read_weights
from retfm_dist.train.experiment import experiment_of
from retfm_dist.train.run_dir import RunDir
from retfm_dist.versions import software_versions
from retfm_dist.weights.compare import describe_mismatch, shapes_of
from retfm_dist.weights.read import NUM_HEADS_KEY

logger = logging.getLogger(__name__)

FORMAT = "retfm-export"
VERSION = 1
RETFOUND_NAME = "retfound.pth"
MAE_NAME = "mae.safetensors"
CARD_NAME = "README.md"
_LIBRARIES = ("safetensors", "timm", "torch")


@dataclass(frozen=True)
class TrainedRun:
    """Config, weights and provenance of a trained run.

    Attributes:
        config: Its resolved config.
        weights: Full MAE state dict, fp32, on the CPU.
        state: Content of the checkpoint's state.json.
        checkpoint: Name of the checkpoint directory.
        is_average: Whether the weights are their running mean.
        cohort: Share and composition of each set it was trained on, where the run noted them.
        membership: Which images and patients these are, likewise.
    """

    config: PretrainConfig
    weights: dict[str, torch.Tensor]
    state: dict[str, Any]
    checkpoint: str
    is_average: bool
    cohort: Sequence[Mapping[str, Any]]
    membership: Membership | None


def write_export(
    run_dir: Path, out_dir: Path, *, step: int | None = None, average: bool = False
) -> Path:
    """Export a run's newest complete checkpoint, or that of one step.

    Args:
        run_dir: Run directory.
        out_dir: Export directory, which must not exist; it appears whole or not at all.
        step: Step of the checkpoint; None takes the newest complete one.
        average: Whether the running mean of the weights is exported in their place.

    Returns:
        `out_dir`.

    Raises:
        ExportError: `run_dir` is not a run, `out_dir` exists, or the weights do not fit the config.
        CheckpointError: There is no such checkpoint, it is damaged, or has no running mean.
        ConfigError: The run's config cannot be read.
    """
    if out_dir.exists():
        raise ExportError(
            "already exists", where=out_dir, hint="choose another --out, or remove it first"
        )
    trained = read_trained(run_dir, step=step, average=average)
    check_weights(trained.weights, trained.config.model, where=run_dir / trained.checkpoint)
    with staged_directory(out_dir) as staging:
        _write_files(staging, trained)
    logger.info("exported %s of %s to %s", trained.checkpoint, run_dir, out_dir)
    return out_dir


def read_trained(run_dir: Path, *, step: int | None = None, average: bool = False) -> TrainedRun:
    """Read a run's config and checkpoint.

    Raises:
        ExportError: `run_dir` is not a run directory.
        CheckpointError: There is no such checkpoint, or it is damaged.
        ConfigError: The run's config cannot be read.
    """
    run = RunDir(run_dir)
    if not run_dir.is_dir():
        raise ExportError("no such run directory", where=run_dir)
    checkpoint = _choose_checkpoint(run, step)
    if not run.config_path.is_file():
        raise ExportError(
            "no config",
            where=run_dir,
            expected=run.config_path.name,
            hint="is this a run directory?",
        )
    config = read_config(run.config_path, [], PretrainConfig)
    weights, state = read_weights(checkpoint, average=average)
    return TrainedRun(
        config=config,
        weights={name: tensor.float().contiguous() for name, tensor in weights.items()},
        state=state,
        checkpoint=checkpoint.name,
        is_average=average,
        cohort=_read_cohort(run, state),
        membership=_read_membership(run, state),
    )


def check_weights(weights: Mapping[str, torch.Tensor], model: ModelConfig, *, where: Path) -> None:
    """Refuse weights that are not those of the configured MAE, or not finite.

    Raises:
        ExportError: See above.
    """
    with torch.device("meta"):  # shapes without storage
        expected = shapes_of(MaskedAutoencoder(model).state_dict())
    if mismatch := describe_mismatch(shapes_of(weights), expected):
        raise ExportError(
            "the weights are not those of the configured model",
            where=where,
            got=mismatch,
            expected=f"{len(expected)} tensors",
        )
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ExportError(
            "weights are not finite",
            where=where,
            got=", ".join(broken[:4]),
            hint="export an earlier step with --step",
        )


def _choose_checkpoint(run: RunDir, step: int | None) -> Path:
    """Return the directory of the checkpoint asked for."""
    if step is None:
        return find_checkpoint(run.path)
    checkpoint = run.checkpoint_dir(step)
    if not checkpoint.is_dir():
        names = [path.name for path in list_checkpoints(run.path)]
        raise CheckpointError(
            f"no checkpoint of step {step}",
            where=run.path,
            expected=f"one of {', '.join(names)}" if names else "a run with checkpoints",
        )
    return checkpoint


def _read_cohort(run: RunDir, state: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the sets of training images, if the run recorded their composition."""
    try:
        cohort = json.loads(run.cohort_path.read_text(encoding="utf-8"))
        trained_on = cohort["dataset_fingerprint"]
        # Runs of earlier versions note one composition, of one set.
        sets = cohort.get("sets", [{"share": 1.0, **cohort}])
        known = [{"share": item["share"], "composition": item["composition"]} for item in sets]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return known if trained_on == data_fingerprint(state) else []


def _read_membership(run: RunDir, state: Mapping[str, Any]) -> Membership | None:
    """Return which images were trained on, if the run recorded it for this set."""
    if not run.membership_path.is_file():
        return None
    membership = read_membership(run.membership_path)
    return membership if membership.fingerprint == data_fingerprint(state) else None


def _write_files(out_dir: Path, trained: TrainedRun) -> None:
    """Fill an export directory; the provenance comes last."""
    model = trained.config.model
    architecture = Architecture(
        img_size=model.img_size,
        patch_size=model.patch_size,
        embed_dim=model.embed_dim,
        depth=model.depth,
        num_heads=model.num_heads,
    )
    facts = describe_training(trained)
    heads = model.num_heads  # no shape shows it, and a wrong number gives wrong features
    metadata = {"format": "pt", NUM_HEADS_KEY: str(heads)}
    save_file(encoder_state(trained.weights), out_dir / WEIGHTS_NAME, metadata=metadata)
    save_file(trained.weights, out_dir / MAE_NAME, metadata=metadata)
    torch.save({"model": trained.weights, NUM_HEADS_KEY: heads}, out_dir / RETFOUND_NAME)
    write_json(out_dir / CONFIG_NAME, timm_config(architecture))
    write_text(out_dir / CARD_NAME, render_card(trained.config, facts, cohort=trained.cohort))
    if trained.membership is not None:
        write_membership(out_dir / MEMBERSHIP_NAME, trained.membership)
    equalize_permissions(out_dir)
    names = sorted(path.name for path in out_dir.iterdir())
    write_json(
        out_dir / PROVENANCE_NAME,
        {**facts, "files": {name: sha256_file(out_dir / name) for name in names}},
    )


def data_fingerprint(state: Mapping[str, Any]) -> str | None:
    """Return the shard set's fingerprint from a checkpoint's state; None if absent."""
    return state.get("data", {}).get("dataset_fingerprint")


def describe_training(trained: TrainedRun) -> dict[str, Any]:
    """Return where the weights come from, as JSON values.

    An export leaves the hospital. So of the config only what defines the experiment is told:
    no path, no address of a server, no free text beside the run's name.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "run": trained.config.run.name,
        "checkpoint": trained.checkpoint,
        "weights": "running mean" if trained.is_average else "last",
        "experiment": experiment_of(trained.config),
        "config_hash": config_hash(trained.config),
        "step": trained.state.get("step"),
        "images_seen": trained.state.get("images_seen"),
        "num_updates": trained.state.get("num_updates"),
        "rolled_back": trained.state.get("rolled_back", []),
        "overrides": trained.state.get("overrides", []),
        "data_fingerprint": data_fingerprint(trained.state),
        "versions": software_versions(*_LIBRARIES),
    }
