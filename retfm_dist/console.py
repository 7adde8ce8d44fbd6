"""Terminal behavior shared by all commands: exit codes, logging, progress bars.

Exit code 0 is success, 1 a failure with one clear message, 2 bad usage. A progress bar is drawn
only when stderr is a terminal.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from signal import SIGINT, SIGTERM, signal
from typing import TypeVar

from retfm_dist.errors import RetfmError, system_failure

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

PROGRESS_INTERVAL_S = 60.0
"""Time between two lines of progress where there is no terminal."""

BROKEN_PIPE_EXIT_CODE = 141
"""Exit code when the reader of the output ended early: 128 + SIGPIPE, as of other Unix tools."""


def run_command(command: Callable[[], object]) -> None:
    """Run a command line's body; print a user's mistake in one line and exit with code 1."""
    set_up_logging()
    try:
        _forward_system_failures(command)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output, such as `head`, has seen enough. What is left in the buffer
        # goes nowhere, or the interpreter would complain of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE_EXIT_CODE)
    except RetfmError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the one place that reports failure
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201 - see above
        sys.exit(128 + SIGINT)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, inside `interruptible`."""


@contextmanager
def interruptible(note: str) -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C, after cleaning up, and say what becomes of the work.

    Args:
        note: Added to the message that the command was interrupted.

    Raises:
        SystemExit: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def terminate(*_: object) -> None:
        raise TerminatedError

    before = signal(SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as error:
        # Not left to the command line's parser, which would end in silence.
        print(f"interrupted; {note}", file=sys.stderr)  # noqa: T201
        sys.exit(128 + (SIGTERM if isinstance(error, TerminatedError) else SIGINT))
    finally:
        signal(SIGTERM, before)


def _forward_system_failures(command: Callable[[], object]) -> None:
    """Run a command; turn errors of the operating system into one message."""
    try:
        command()
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno is None:  # raised by a library, not by the system
            raise
        raise system_failure(error) from error


def set_up_logging(level: int = logging.INFO) -> None:
    """Send log records to stderr, one line each."""
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    # Clients of object stores tell of every credential and endpoint that they find.
    for name in ("aiobotocore", "botocore"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def track(items: Iterable[Item], *, description: str, total: int | None = None) -> Iterator[Item]:
    """Yield `items` under a progress bar with rate and time left on a terminal's stderr."""
    if not sys.stderr.isatty():
        yield from _log_progress(items, description, total)
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(
        items, description=description, total=total, console=Console(stderr=True), transient=True
    )


def _log_progress(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    """Yield `items` and log a line now and then, for the logs of jobs."""
    start = last = time.monotonic()
    for count, item in enumerate(items):
        now = time.monotonic()
        if now - last >= PROGRESS_INTERVAL_S and count:
            last = now
            rate = count / (now - start)
            ahead = ""
            if total:
                minutes = (total - count) / rate / 60
                ahead = f" of {total:,} ({count / total:.1%}), {minutes:.0f} min left"
            logger.info("%s: %s%s, %.1f/s", description, f"{count:,}", ahead, rate)
        yield item
