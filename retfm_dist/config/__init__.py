"""Configurations: pydantic schemas, strict YAML in, the resolved YAML and its hash out.

`schema` declares what a pre-training run is made of, `durations` reads lengths such as
"15 epochs", `yaml_text` reads and writes YAML without its surprises, `load` turns a file and the
command line's overrides into a checked config, and `json_schema` serves editors.
"""

from retfm_dist.config.durations import Duration
from retfm_dist.config.engine import EngineConfig
from retfm_dist.config.load import find_config, load_config
from retfm_dist.config.schema import (
    CheckpointConfig,
    DataConfig,
    LogConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainConfig,
    RunConfig,
    ScheduleConfig,
    TrackingConfig,
)

__all__ = [
    "CheckpointConfig",
    "DataConfig",
    "Duration",
    "EngineConfig",
    "LogConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PretrainConfig",
    "RunConfig",
    "ScheduleConfig",
    "TrackingConfig",
    "find_config",
    "load_config",
]
