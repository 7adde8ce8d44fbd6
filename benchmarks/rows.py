"""The one form in which all benchmarks report, on the terminal and as JSON."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from retfm_dist.model.attention import device_name_of


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        name: What was measured.
        value: Median of the repeats.
        unit: Unit of `value` and `limit`.
        peer: What does the same work beside it; empty for a peer's own row.
        ratio: `value` over the peer's value in the same run.
        limit: What the hardware or the fastest library allows for the same work.
        machine: Processor that it was measured on.
    """

    name: str
    value: float
    unit: str
    peer: str
    ratio: float
    limit: float
    machine: str


def machine_name() -> str:
    """Return the processor's model name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def machine_of(device: torch.device) -> str:
    """Return the name of a GPU, or the processor's where the device is one."""
    return device_name_of(device) if device.type == "cuda" else machine_name()


def readable(value: float) -> str:
    """Return a figure with three digits or all before the point."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def report(title: str, rows: Sequence[Row], json_path: Path | None) -> None:
    """Print the rows as a table and, if asked, write them as a JSON list."""
    table = Table(title=title)
    for heading in ("name", "value", "unit", "peer", "ratio", "limit", "of limit"):
        table.add_column(
            heading, justify="left" if heading in ("name", "unit", "peer") else "right"
        )
    for row in rows:
        table.add_row(
            row.name,
            readable(row.value),
            row.unit,
            row.peer,
            f"{row.ratio:.2f}",
            readable(row.limit),
            f"{row.value / row.limit:.0%}" if row.limit else "",
        )
    Console(width=120).print(table)
    if json_path is not None:
        json_path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
