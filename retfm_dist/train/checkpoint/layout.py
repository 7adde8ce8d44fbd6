"""Names in a checkpoint directory and in a rank's file."""

from dataclasses import dataclass

FORMAT = 2
STATE = "state.json"
MANIFEST = "manifest.json"
KINDS = ("weights", "exp_avg", "exp_avg_sq")
"""Of tensors: fp32 master weights with the frozen tables, and Adam's two moments."""
AVERAGE = "average"
"""A running mean of the weights, where the run keeps one."""


def part_name(rank: int) -> str:
    """Return the name of the file of one rank of the job that wrote the checkpoint."""
    return f"rank_{rank:04d}.safetensors"


@dataclass(frozen=True)
class Stretch:
    """Consecutive elements of a flattened tensor.

    Attributes:
        kind: One of `KINDS`, or `AVERAGE`.
        name: Name of the parameter.
        start: First element.
    """

    kind: str
    name: str
    start: int

    @property
    def key(self) -> str:
        """Name of the stretch in a rank's file."""
        return f"{self.kind}/{self.name}@{self.start}"


def parse_key(key: str) -> Stretch:
    """Return the stretch that a name in a rank's file stands for.

    Raises:
        ValueError: It is no such name.
    """
    kind, slash, rest = key.partition("/")
    name, at, start = rest.rpartition("@")
    if not (slash and at and kind in (*KINDS, AVERAGE)):
        raise ValueError(f"no name of a stretch: {key}")
    return Stretch(kind, name, int(start))
