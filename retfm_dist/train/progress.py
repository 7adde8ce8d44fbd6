"""Progress of a run: a bar on a terminal, one log line per interval elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TextIO

logger = logging.getLogger(__name__)

# With the longest runs' step counts, the line still fits 80 columns.
_BAR_CHARS = 8


class Progress(Protocol):
    """Shows how far a run is."""

    def advance(self, step: int) -> None:
        """Show that `step` steps are complete."""
        ...

    def show(self, line: Mapping[str, float]) -> None:
        """Show a line of metrics."""
        ...

    def close(self) -> None:
        """Stop showing."""
        ...


def open_progress(
    *, total_steps: int, start_step: int, is_main: bool, stream: TextIO = sys.stderr
) -> Progress:
    """Return a bar when `stream` is a terminal, log lines when not, nothing off the main rank.

    Args:
        total_steps: Steps of the run.
        start_step: Steps that were complete when this process started.
        is_main: Whether this is the rank that speaks.
        stream: Where the bar would be drawn.
    """
    if not is_main:
        return _Silence()
    if stream.isatty():
        return _Bar(total_steps, start_step, stream)
    return _Lines(total_steps, start_step)


class _Silence:
    """Progress off the main rank: shows nothing."""

    def advance(self, step: int) -> None:
        pass

    def show(self, line: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


class _Lines:
    """One log line per interval."""

    def __init__(
        self, total_steps: int, start_step: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total_steps = total_steps
        self._start_step = start_step
        self._clock = clock
        self._begun_at = clock()

    def advance(self, step: int) -> None:
        pass

    def show(self, line: Mapping[str, float]) -> None:
        step = int(line["step"])
        per_step_s = (self._clock() - self._begun_at) / max(1, step - self._start_step)
        left = format_duration(per_step_s * (self._total_steps - step))
        logger.info(
            "step %d/%d  lr %.2e  %s  %s left",
            step,
            self._total_steps,
            line["train/lr"],
            _shown(line),
            left,
        )

    def close(self) -> None:
        pass


class _Bar:
    """A bar with loss, speed, data wait and time left."""

    def __init__(self, total_steps: int, start_step: int, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar: Any = Progress(
            BarColumn(bar_width=_BAR_CHARS),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(file=stream),
        )
        self._task = self._bar.add_task(
            "pretrain", total=total_steps, completed=start_step, metrics=""
        )
        self._bar.start()

    def advance(self, step: int) -> None:
        self._bar.update(self._task, completed=step)

    def show(self, line: Mapping[str, float]) -> None:
        self._bar.update(self._task, metrics=_shown(line))

    def close(self) -> None:
        self._bar.stop()


def _shown(line: Mapping[str, float]) -> str:
    """Return loss, speed and data wait as one short text."""
    return (
        f"loss {line['train/loss']:.4f}  {line['perf/images_per_s']:.1f} images/s  "
        f"data wait {line['perf/data_wait_ratio']:.0%}"
    )


def format_duration(seconds: float) -> str:
    """Return a duration as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
