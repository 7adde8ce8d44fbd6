"""No process outlives the test that started it, whatever that test came to."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import psutil


@contextlib.contextmanager
def ending_what_it_starts() -> Iterator[None]:
    """End each process that a test began inside and that still runs, its children with it.

    Processes that a library keeps for later are let alone: they are not begun by a test.
    """
    started: list[subprocess.Popen] = []

    class Popen(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            if sys._getframe(1).f_globals["__name__"].startswith("tests."):
                started.append(self)

    original, subprocess.Popen = subprocess.Popen, Popen
    try:
        yield
    finally:
        subprocess.Popen = original
        for process in started:
            _end(process)


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        family = [psutil.Process(process.pid)]
        with contextlib.suppress(psutil.Error):
            family += family[0].children(recursive=True)
        for member in family:
            with contextlib.suppress(psutil.Error):
                member.kill()
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
