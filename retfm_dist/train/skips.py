"""Windows of steps that a run passes over: their images are not trained on and no weight changes.

skips.json in the run directory holds those that rolling back has added, in that order:
[{"begin": 1180, "end": 1203}, ...]
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from retfm_dist.durable import write_json
from retfm_dist.errors import CheckpointError


@dataclass(frozen=True)
class Window:
    """Steps in [begin, end), 0-based."""

    begin: int
    end: int


@dataclass(frozen=True)
class Skips:
    """The windows that a start goes by.

    Attributes:
        configured: Those of the config.
        rolled_back: Those of skips.json. Windows may overlap.
    """

    configured: tuple[Window, ...] = ()
    rolled_back: tuple[Window, ...] = ()

    @property
    def windows(self) -> tuple[Window, ...]:
        """All of them, by their begin."""
        return tuple(sorted(self.configured + self.rolled_back, key=lambda window: window.begin))

    def contains(self, step: int) -> bool:
        """Whether a step is passed over."""
        return any(window.begin <= step < window.end for window in self.windows)

    def segments(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the stretches of steps in [begin, end) that are not passed over, in order."""
        for window in self.windows:
            if begin < min(window.begin, end):
                yield begin, min(window.begin, end)
            begin = max(begin, window.end)
        if begin < end:
            yield begin, end


def read_windows(path: Path) -> tuple[Window, ...]:
    """Read skips.json; none where there is no such file.

    Raises:
        CheckpointError: It is damaged.
    """
    if not path.exists():
        return ()
    try:
        return tuple(Window(**item) for item in json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise CheckpointError("damaged list of windows that are passed over", where=path) from error


def write_windows(path: Path, windows: Iterable[Window]) -> None:
    """Write skips.json."""
    write_json(path, [asdict(window) for window in windows])
