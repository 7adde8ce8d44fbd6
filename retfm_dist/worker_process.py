"""One worker process behind a pipe of its own, started when needed and again after a loss."""

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

_SPAWN = multiprocessing.get_context("spawn")
# Starting a process and asking how it ended both look at every child of this one.
_STARTING = threading.Lock()
# A terminal or a batch system sends these to the whole group; the parent ends its workers itself.
_FOR_THE_PARENT = (signal.SIGINT, signal.SIGTERM)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 29
_MAX_STARTS = 8
# From the end of its pipe to the end of the process: the interpreter takes its leave.
_PATIENCE_S = 5.0


class LostTaskError(Exception):
    """A task whose process died or took too long; the text says which."""


class NotStartedError(Exception):
    """A process that ended before it was ready for a task; the text says how."""


class StoppedError(Exception):
    """A task for a worker that was stopped."""


class RemoteError(Exception):
    """The cause of a task's exception: its traceback in the process."""


class WorkerProcess:
    """Run tasks one after the other in another process, for one thread of this one.

    The pipe and the process belong together and are replaced together. A pipe that several
    workers share has locks, and one that is killed while it holds them, or in the middle of a
    message, stops all others for good.

    Args:
        function: Importable by name; called with each task.
        timeout_s: Longest that one task may take; then the process is killed.
    """

    def __init__(self, function: Callable[[Any], Any], timeout_s: float | None):
        """Take the function; the first task starts the process."""
        self._function = function
        self._timeout_s = timeout_s
        self._running: tuple[BaseProcess, Connection] | None = None
        self._stopped = False

    def run(self, task: Any) -> Any:
        """Return `function(task)`, or raise what it raises.

        Raises:
            LostTaskError: The process died or took too long; the next task gets a new one.
            NotStartedError: No process came up.
            StoppedError: `stop` was called before.
        """
        message = pickle.dumps(task)
        process, pipe = self._running or self._start()
        if pipe.poll(0):
            # Without a task it has nothing to say, so this is the end of the file.
            self._end(process, pipe)
            process, pipe = self._start()
        try:
            pipe.send_bytes(message)
            if not pipe.poll(self._timeout_s):
                self._end(process, pipe)
                raise LostTaskError(f"no result within {self._timeout_s:g} s")
            reply = pipe.recv_bytes()
        except (EOFError, OSError):
            code = self._end(process, pipe, _PATIENCE_S)
            raise LostTaskError(_how_it_ended(code)) from None
        succeeded, value, details = pickle.loads(reply)
        if succeeded:
            return value
        raise value from RemoteError(f"\n{details}")

    def stop(self) -> None:
        """End the process whatever it does; another thread's `run` ends with an error."""
        with _STARTING:
            self._stopped = True
            if self._running is not None:
                # Tasks leave nothing behind that a kill could harm; to ask would be to wait.
                self._running[0].kill()

    def close(self) -> None:
        """Release the process after `stop`, once no thread is in `run`."""
        if self._running is not None:
            self._end(*self._running)

    def _start(self) -> tuple[BaseProcess, Connection]:
        """Start a process and wait until it is ready; start another if a signal ended it before."""
        code = None
        for _ in range(_MAX_STARTS):
            process, pipe = self._spawn()
            try:
                pipe.recv_bytes()
                return process, pipe
            except (EOFError, OSError):
                code = self._end(process, pipe, _PATIENCE_S)
            if code is None or code >= 0:
                break
        raise NotStartedError(_how_it_ended(code))

    def _spawn(self) -> tuple[BaseProcess, Connection]:
        with _STARTING:
            if self._stopped:
                raise StoppedError
            pipe, end = _SPAWN.Pipe()
            process = _SPAWN.Process(target=_serve, args=(end, self._function), daemon=True)
            try:
                with _signals_blocked():
                    process.start()
            except OSError as error:
                raise NotStartedError(str(error)) from error
            self._running = process, pipe
            # The process has the only other end now, so its death is the end of the file here.
            end.close()
            return process, pipe

    def _end(self, process: BaseProcess, pipe: Connection, patience_s: float = 0.0) -> int | None:
        """Kill the process if it does not end by itself in time; return its exit code."""
        with _STARTING:
            self._running = None
            process.join(patience_s)
            process.kill()
            process.join()
            code = process.exitcode
        pipe.close()
        return code


def _how_it_ended(code: int | None) -> str:
    return f"the process ended with exit code {code}"


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Keep the parent's signals from what starts inside, whose imports would end in a traceback."""
    # Its start lets them through again, so it must not fall inside.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """Answer tasks until the other end of the pipe is closed."""
    _keep_memory()
    for number in _FOR_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_THE_PARENT)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        pipe.send_bytes(b"ready")
        while True:
            pipe.send_bytes(_answer(function, pipe.recv_bytes()))


def _answer(function: Callable[[Any], Any], message: bytes) -> bytes:
    try:
        return pickle.dumps((True, function(pickle.loads(message)), None))
    except Exception as error:
        return pickle.dumps((False, _portable(error), traceback.format_exc()))


def _portable(error: Exception) -> Exception:
    """Return the exception, or one with its words where it cannot be pickled there and back."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _keep_memory() -> None:
    """Let the allocator keep large blocks between tasks (glibc's mallopt, see malloc.h).

    By default each array of a photograph is mapped anew and its pages are cleared by the kernel,
    at which two workers wait for each other: a sixth of the time of packing.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            library.mallopt(option, _KEPT_BYTES)


def _exit_with_parent() -> None:
    """End with the parent, however it ends, also in the middle of a task."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
