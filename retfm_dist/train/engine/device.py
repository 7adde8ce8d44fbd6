"""Whether this process computes on a GPU, decided before DeepSpeed chooses by itself.

DeepSpeed trains on the CPU, with a warning, where it finds no GPU that it can use: a driver that
is too old for the installed PyTorch would go unnoticed for days.
"""

import os
from pathlib import Path
from typing import Literal

import torch

from retfm_dist.errors import TrainError

_ACCELERATOR = "DS_ACCELERATOR"
_DRIVER = Path("/proc/driver/nvidia/version")


def settle_accelerator(device: Literal["auto", "cuda", "cpu"]) -> None:
    """Tell DeepSpeed where to compute, by its variable DS_ACCELERATOR; before it is imported.

    Args:
        device: "cuda", "cpu", or "auto": a GPU unless the machine has none or the variable is set.

    Raises:
        TrainError: A GPU is asked for, or there is a driver for one, and PyTorch cannot use it.
    """
    chosen = os.environ.get(_ACCELERATOR)
    if device == "cuda" and chosen not in (None, "cuda"):
        raise TrainError(
            "the config and the environment do not agree",
            where="engine.device",
            got=f"{device}, and {_ACCELERATOR}={chosen}",
            hint=f"unset {_ACCELERATOR}, or train on the CPU with --set engine.device=cpu",
        )
    if device == "cpu":
        os.environ[_ACCELERATOR] = "cpu"
    elif device == "cuda" or (chosen is None and _DRIVER.exists()):
        _check_cuda(device)


def _check_cuda(device: str) -> None:
    if torch.cuda.is_available():
        return
    raise TrainError(
        "no GPU can be used",
        where="engine.device" if device == "cuda" else str(_DRIVER),
        got=_why_not(),
        expected="a driver and a PyTorch that fit each other",
        hint="`python -m retfm_dist.doctor check` says more; to train on the CPU give --set "
        "engine.device=cpu",
    )


def _why_not() -> str:
    """Return why CUDA cannot be used, in PyTorch's words where it has any, with the driver."""
    if torch.version.cuda is None:
        reason = f"torch {torch.__version__}, which was built without CUDA"
    else:
        try:
            torch.cuda.init()
            reason = "no device is visible"
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
    driver = _DRIVER.read_text().splitlines()[0] if _DRIVER.exists() else "no NVIDIA driver"
    return f"{reason}; {driver}"
