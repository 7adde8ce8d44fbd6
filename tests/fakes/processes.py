"""Starting the project's commands as processes, on CPU ranks and without a launcher around them."""

import os
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_S = 240
"""Longest that a command of a test may take."""
CONFIG = Path(__file__).with_name("test_cpu.yaml")
"""The smallest complete run."""


def environment() -> dict[str, str]:
    """Return this process's environment without a launcher's variables, for CPU ranks."""
    launcher = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    kept = {key: value for key, value in os.environ.items() if key not in launcher}
    return kept | {
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
