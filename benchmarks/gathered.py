"""One Markdown file and one JSON file of what the stages of a day left.

python -m benchmarks.gathered DIRECTORY RESULT      writes RESULT.md and RESULT.json
"""

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.rows import machine_name, readable
from retfm_dist.model.attention import device_name_of
from retfm_dist.train.environment import COMPUTE_LIBRARIES, git_commit
from retfm_dist.versions import software_versions

_DRIVER = Path("/proc/driver/nvidia/version")


def main() -> None:
    """Gather and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("result", type=Path)
    arguments = parser.parse_args()
    paths = sorted(arguments.directory.glob("[0-9]_*.json"))
    stages = {path.stem: json.loads(path.read_text()) for path in paths}
    if not stages:
        sys.exit(f"error: {arguments.directory}: no stage has left a result")
    found = {"machine": describe_machine(), "stages": stages}
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{arguments.result}.json").write_text(json.dumps(found, indent=2) + "\n")
    Path(f"{arguments.result}.md").write_text(markdown(found))
    print(f"wrote {arguments.result}.md and .json")


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on; nothing names the host."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        "device": device_name_of(device),
        "processor": machine_name(),
        "driver": _DRIVER.read_text().splitlines()[0] if _DRIVER.exists() else None,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "git_commit": git_commit(),
        "versions": software_versions(*COMPUTE_LIBRARIES),
    }


def markdown(found: dict[str, Any]) -> str:
    """Return a table per stage, as the terminal has shown it."""
    lines = ["# Figures of one machine", ""]
    lines += [f"- {name}: {value}" for name, value in found["machine"].items()]
    for stage, rows in found["stages"].items():
        lines += ["", f"## {stage}", "", "| name | value | unit | peer | ratio | limit |"]
        lines += ["|---|---:|---|---|---:|---:|"]
        lines += [
            f"| {row['name']} | {readable(row['value'])} | {row['unit']} | {row['peer']} "
            f"| {row['ratio']:.2f} | {readable(row['limit'])} |"
            for row in rows
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
