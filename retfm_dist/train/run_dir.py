"""The run directory: what lies where, and whether a config may continue the run in it.

RUN_DIR/
    config.yaml            resolved config of the latest start
    environment.json       versions of the latest start
    metrics.jsonl          one line per log interval; steps ascend and never repeat
    tracking.json          which MLflow run this is
    reconstructions/       step_XXXXXXXX.png, patient data
    checkpoints/           step_XXXXXXXX/, see `checkpoint`
    uids/                  rank_NNNN.jsonl, the samples of every step, only with data.log_uids
    origin.json            which checkpoint the run was started from with --resume
    DONE                   the run has finished; no exit code says so
    .lock                  held by the rank that writes here
"""

import json
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retfm_dist.config import PretrainConfig
from retfm_dist.config.load import config_hash, to_yaml
from retfm_dist.durable import open_atomic, write_json, write_text
from retfm_dist.errors import CheckpointError
from retfm_dist.ranks.world import Ranks
from retfm_dist.versions import DALI, software_versions

# What a run computes depends on these and on nothing else in its config. `run.init_from` counts
# at step 0 only, and the images are compared by the loader's own fingerprint.
_EXPERIMENT = (
    "run.seed", "data.crop_scale", "data.crop_ratio", "data.flip_probability", "model",
    "optimizer", "schedule.duration", "schedule.warmup", "schedule.global_batch_size",
    "engine.precision",
)  # fmt: skip

COMPUTE_LIBRARIES = ("torch", "deepspeed", "timm", *DALI)
"""What the numbers of a run may depend on, beside this package."""


@dataclass(frozen=True)
class RunDir:
    """The paths of one run.

    Attributes:
        path: The directory itself.
    """

    path: Path

    @property
    def config_path(self) -> Path:
        """Resolved config."""
        return self.path / "config.yaml"

    @property
    def environment_path(self) -> Path:
        """Versions."""
        return self.path / "environment.json"

    @property
    def metrics_path(self) -> Path:
        """Metrics, one JSON object per line."""
        return self.path / "metrics.jsonl"

    @property
    def tracking_path(self) -> Path:
        """Id of the MLflow run."""
        return self.path / "tracking.json"

    @property
    def origin_path(self) -> Path:
        """Identity of the checkpoint that the run was explicitly started from."""
        return self.path / "origin.json"

    @property
    def done_path(self) -> Path:
        """Marker of a finished run."""
        return self.path / "DONE"

    @property
    def lock_path(self) -> Path:
        """Lock of the process that writes here."""
        return self.path / ".lock"

    def checkpoint_dir(self, step: int) -> Path:
        """Return the directory of the checkpoint after `step` steps."""
        return self.path / "checkpoints" / f"step_{step:08d}"

    def reconstruction_path(self, step: int) -> Path:
        """Return the path of the reconstruction picture after `step` steps."""
        return self.path / "reconstructions" / f"step_{step:08d}.png"


def experiment_of(config: PretrainConfig) -> dict[str, Any]:
    """Return the fields that define what a run computes, dotted name -> JSON value.

    Where it runs (ranks, micro-batch, ZeRO stage), what it reads through and how it is logged may
    change from one start to the next.
    """
    fields = dict(_flatten(config.model_dump(mode="json"), ""))
    return {
        name: value
        for name, value in fields.items()
        if any(name == part or name.startswith(part + ".") for part in _EXPERIMENT)
    }


def _flatten(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def check_experiment(config: PretrainConfig, saved: dict[str, Any], *, where: Path) -> None:
    """Refuse to continue a run under a config that defines another experiment.

    Args:
        config: The config of this start.
        saved: `experiment_of` the config that the checkpoint was made under.
        where: The checkpoint, for the message.

    Raises:
        CheckpointError: A field differs; the first one is named.
    """
    now = experiment_of(config)
    for field in sorted(now.keys() | saved.keys()):
        if now.get(field) != saved.get(field):
            raise CheckpointError(
                f"the config is not that of the run: {field} differs",
                where=where,
                got=now.get(field),
                expected=saved.get(field),
                hint="give the new experiment another run.dir",
            )


def describe_environment(config: PretrainConfig, *, ranks: Ranks, device: str) -> dict[str, Any]:
    """Return the facts of this start that are needed to repeat it; none names the host.

    Args:
        config: The run.
        ranks: For the world size.
        device: Name of the accelerator.
    """
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": software_versions(*COMPUTE_LIBRARIES),
        "accelerator": device,
        "world_size": ranks.world_size,
        "config_hash": config_hash(config),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Return the commit of the checkout this package runs from; None for an installed package."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        return subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def describe_start(run_dir: RunDir, config: PretrainConfig, *, environment: dict[str, Any]) -> None:
    """Write config.yaml and environment.json of this start."""
    write_text(run_dir.config_path, to_yaml(config))
    write_json(run_dir.environment_path, environment)


def drop_lines_after(run_dir: RunDir, step: int) -> None:
    """Drop what metrics.jsonl and the logs of uids hold beyond a number of completed steps.

    Training continues there and logs the later steps again; so does a line that a killed process
    cut short. The uids of completed step n stand at the 0-based step n - 1, of whichever ranks.
    """
    _drop_lines(run_dir.metrics_path, last=step)
    for path in sorted((run_dir.path / "uids").glob("rank_*.jsonl")):
        _drop_lines(path, last=step - 1)


def _drop_lines(path: Path, *, last: int) -> None:
    """Keep the lines of a log up to step `last`."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if (at := _step_of(line)) is not None and at <= last]
    if len(kept) < len(lines) or (lines and not path.read_bytes().endswith(b"\n")):
        with open_atomic(path, "w") as file:
            file.writelines(line + "\n" for line in kept)


def _step_of(line: str) -> int | None:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return None
