"""What a run computes, and whether a config may continue it.

This is the one list of what a resumed run must have in common with its past, except for the
images, which the data path compares by its own fingerprint (`Loader.check_state`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retfm_dist.config import PretrainConfig
from retfm_dist.errors import CheckpointError

# Where a run happens (ranks, micro-batch, ZeRO stage), what it reads through and how it is logged
# may change from one start to the next. `run.init_from` counts at step 0 only.
_EXPERIMENT = (
    "run.seed", "data.crop_scale", "data.crop_ratio", "data.flip_probability", "model",
    "optimizer", "schedule.duration", "schedule.warmup", "schedule.global_batch_size",
    "engine.precision", "stability",
)  # fmt: skip


def experiment_of(config: PretrainConfig) -> dict[str, Any]:
    """Return the fields that define what a run computes, dotted name -> JSON value."""
    fields = dict(_flatten(config.model_dump(mode="json"), ""))
    return {
        name: value
        for name, value in fields.items()
        if any(name == part or name.startswith(part + ".") for part in _EXPERIMENT)
    }


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


def _flatten(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
