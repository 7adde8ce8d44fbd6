"""Facts about a start that are needed to repeat it: versions, world size, git commit."""

import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retfm_dist.config import PretrainConfig
from retfm_dist.config.load import config_hash
from retfm_dist.ranks.world import Ranks
from retfm_dist.versions import DALI, software_versions

COMPUTE_LIBRARIES = ("torch", "deepspeed", "timm", *DALI)
"""What the numbers of a run may depend on, beside this package."""


def describe_environment(
    config: PretrainConfig, *, ranks: Ranks, engine: Mapping[str, str]
) -> dict[str, Any]:
    """Return the facts of this start, as JSON values; none names the host.

    Args:
        config: The run.
        ranks: For the world size.
        engine: What computes: "accelerator", "optimizer" and "attention".
    """
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": software_versions(*COMPUTE_LIBRARIES),
        **engine,
        "world_size": ranks.world_size,
        "config_hash": config_hash(config),
        "git_commit": git_commit(),
    }


def git_commit() -> str | None:
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
