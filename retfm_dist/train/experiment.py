"""What a run computes, and whether a config may continue it.

This is the one list of what a resumed run must have in common with its past, except for the
images, which the data path compares by its own fingerprint (`Loader.check_state`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retfm_dist.config import PretrainConfig
from retfm_dist.errors import CheckpointError, ConfigError

# Where a run happens (ranks, micro-batch, ZeRO stage), what it reads through and how it is logged
# may change from one start to the next. `run.init_from` counts at step 0 only.
_EXPERIMENT = (
    "run.seed", "data.crop_scale", "data.crop_ratio", "data.flip_probability", "data.lanes",
    "data.window", "model",
    "optimizer", "schedule.duration", "schedule.warmup", "schedule.global_batch_size",
    "engine.precision", "stability",
)  # fmt: skip

# Fields that a checkpoint of an earlier release lacks, and what that release did.
_BEFORE_THEY_EXISTED = {
    "data.lanes": 1,
    "data.window": None,
    "optimizer.ema_decay": None,
    "model.mask": "random",
    "model.loss_outside": True,
    "stability.judge_every": 8,  # It judged every step, which differs only where spikes are sought.
}

# What a run that diverges is rescued with; `--override` records it.
_OVERRIDABLE = (
    "optimizer.base_lr", "optimizer.min_lr", "optimizer.gradient_clipping", "engine.precision",
    "stability",
)  # fmt: skip


def experiment_of(config: PretrainConfig) -> dict[str, Any]:
    """Return the fields that define what a run computes, dotted name -> JSON value."""
    fields = dict(_flatten(config.model_dump(mode="json"), ""))
    return {
        name: value
        for name, value in fields.items()
        if any(name == part or name.startswith(part + ".") for part in _EXPERIMENT)
    }


def check_experiment(
    config: PretrainConfig,
    saved: Mapping[str, Any],
    *,
    where: Path,
    overridden: Collection[str] = (),
) -> None:
    """Refuse to continue a run under a config that defines another experiment.

    Args:
        config: The config of this start.
        saved: `experiment_of` the config that the checkpoint was made under.
        where: The checkpoint, for the message.
        overridden: Fields that may differ, because the user says so.

    Raises:
        CheckpointError: Another field differs; the first one is named.
    """
    for change in changes_of(config, saved):
        if change.field not in overridden:
            by_intent = f", or change this one by --override {change.field}=VALUE"
            raise CheckpointError(
                f"the config is not that of the run: {change.field} differs",
                where=where,
                got=change.now,
                expected=change.before,
                hint="give the new experiment another run.dir"
                + (by_intent if _may_change(change.field) else ""),
            )


@dataclass(frozen=True)
class Change:
    """A field of the experiment that a config has another value of than a checkpoint.

    Attributes:
        field: Dotted name.
        before: The checkpoint's.
        now: The config's.
    """

    field: str
    before: Any
    now: Any


def changes_of(config: PretrainConfig, saved: Mapping[str, Any]) -> list[Change]:
    """Return the fields in which a config differs from the `experiment_of` a checkpoint."""
    now, before = experiment_of(config), {**_BEFORE_THEY_EXISTED, **saved}
    return [
        Change(field, before.get(field), now.get(field))
        for field in sorted(now.keys() | before.keys())
        if now.get(field) != before.get(field)
    ]


def check_overrides(fields: Iterable[str]) -> None:
    """Refuse to override what would make a run another experiment.

    Raises:
        ConfigError: A field must stay as it is; it is named.
    """
    for field in fields:
        if not _may_change(field):
            raise ConfigError(
                "cannot be overridden in a run",
                where=field,
                expected=f"one of {', '.join(_OVERRIDABLE)}.*",
                hint="--set changes how and where a run goes; a new experiment needs another "
                "run.dir",
            )


def _may_change(field: str) -> bool:
    return any(field == part or field.startswith(part + ".") for part in _OVERRIDABLE)


def _flatten(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
