"""A request to stop: a signal, a time limit, or a launcher that has gone.

SIGTERM, SIGINT and SIGUSR1 may reach one rank or several, DeepSpeed's launcher passes SIGTERM on to
one rank after the other, and its runner passes nothing on. So a signal does no more than leave a
note here; after each step the ranks compare their notes, save together and exit. Whatever arrives
while there is no training to save ends the process at once: then the last checkpoint stands.

Signals are read by a thread, which works on while the main thread waits for another rank.
"""

import contextlib
import enum
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

from typing_extensions import Self

from retfm_dist.ranks.world import Ranks

logger = logging.getLogger(__name__)

REQUEUE_EXIT_CODE = 75
"""Exit code of a rank that was asked to stop: the same command continues the run (EX_TEMPFAIL)."""
_GRACE_S = 28.0
"""How long a step may go on after SIGTERM or the launcher's end; DeepSpeed's launcher kills a rank
30 s after its SIGTERM."""
_SAME_SIGNAL_S = 1.0
"""Signals of one kind within this time are one: a group and a launcher both send them."""


class StopReason(enum.IntEnum):
    """Why a rank has been asked to stop; 0 is not at all."""

    NOT = 0
    TIME_LIMIT = 1
    LAUNCHER_GONE = 2
    SIGUSR1 = 3
    SIGINT = 4
    SIGTERM = 5

    @property
    def words(self) -> str:
        """The reason, for a message."""
        return {
            StopReason.TIME_LIMIT: "its time limit",
            StopReason.LAUNCHER_GONE: "the end of its launcher",
        }.get(self, self.name)


_SIGNALS = {reason.name: reason for reason in StopReason if reason.name.startswith("SIG")}
_LEAVE_WHEN_REPEATED = (StopReason.SIGINT, StopReason.SIGTERM)
_HAS_DEADLINE = (StopReason.SIGINT, StopReason.SIGTERM, StopReason.LAUNCHER_GONE)


class StopRequest:
    """Whether this process has been asked to stop.

    Args:
        ranks: Which rank this is; the main rank says what happens.
        leave: Ends the process at once with an exit code.
        clock: Monotonic time, s.
    """

    def __init__(
        self,
        ranks: Ranks,
        *,
        leave: Callable[[int], object] = os._exit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count the time; nothing listens yet."""
        self._ranks = ranks
        self._leave = leave
        self._clock = clock
        self._begun_at = clock()
        self._lock = threading.Lock()
        self._asked_at: dict[StopReason, float] = {}
        self._can_save = False
        self._is_heard = threading.Event()

    @property
    def reason(self) -> StopReason:
        """The strongest reason there is so far."""
        return max(self._asked_at, default=StopReason.NOT)

    @property
    def seconds(self) -> float:
        """Time since this process began."""
        return self._clock() - self._begun_at

    def listen(self) -> Self:
        """Take SIGTERM, SIGINT and SIGUSR1 from now on; call it in the main thread."""
        receiver, sender = os.pipe()
        os.set_blocking(sender, False)
        signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
        for name in _SIGNALS:
            signal.signal(getattr(signal, name), lambda *_: None)
        threading.Thread(
            target=self._read_signals, args=(receiver,), name="signals", daemon=True
        ).start()
        return self

    def _read_signals(self, receiver: int) -> None:
        while numbers := os.read(receiver, 64):
            for number in numbers:
                reason = _SIGNALS.get(signal.Signals(number).name)
                if reason is not None:
                    self.ask(reason)

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """While this lasts there is something to save, and a request waits for the next step.

        A rank that was asked to stop and then loses the others cannot save any more; it leaves.
        """
        self._can_save = True
        try:
            yield
        except RuntimeError:
            if self.reason:
                self._go("the other ranks have gone; the last checkpoint stands")
            raise
        finally:
            self._can_save = False

    def ask(self, reason: StopReason) -> None:
        """Ask this process to stop; from any thread.

        The first request waits for the end of the step. SIGINT or SIGTERM that come again after a
        second, and every request while there is nothing to save, end the process at once.
        """
        now = self._clock()
        with self._lock:
            before = self._asked_at.setdefault(reason, now)
            is_first = len(self._asked_at) == 1 and before == now
        if not self._can_save:
            self._go(f"stopped by {reason.words}; the last checkpoint stands")
        elif reason in _LEAVE_WHEN_REPEATED and now - before > _SAME_SIGNAL_S:
            self._go(f"stopped at once by a second {reason.words}; the last checkpoint stands")
        elif is_first and self._ranks.is_main:
            logger.warning("asked to stop by %s; saving after this step", reason.words)
        if reason in _HAS_DEADLINE and before == now:
            threading.Thread(target=self._end_in_time, name="stop-deadline", daemon=True).start()

    def hear(self) -> None:
        """Note that the ranks have agreed to stop: the step has ended, and is being saved."""
        self._is_heard.set()

    def _end_in_time(self) -> None:
        if not self._is_heard.wait(_GRACE_S):
            self._go(f"the step has not ended in {_GRACE_S:.0f} s; the last checkpoint stands")

    def _go(self, why: str) -> None:
        if self._ranks.is_main:
            logger.warning("%s", why)
        self._leave(REQUEUE_EXIT_CODE)
