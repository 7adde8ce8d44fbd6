"""Heartbeats between ranks, outside the collectives, so that a rank that stands still is named.

A rank that is stopped, or whose host has gone, leaves all others waiting in a collective that says
nothing of who is missing. So every rank sends a datagram once a second with its step and what it is
doing. Rank 0 hears all, and rank 1 hears rank 0. Whoever finds a rank that makes no progress tells
all ranks; they print their stacks and exit.
"""

import faulthandler
import json
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from retfm_dist.ranks.addresses import address_towards
from retfm_dist.ranks.stalls import Beat, Heard, describe_stall, find_silent, find_stalled
from retfm_dist.ranks.world import Ranks

logger = logging.getLogger(__name__)

STALLED_EXIT_CODE = 76
"""Exit code of a rank that left because one of the ranks made no progress."""
_INTERVAL_S = 1.0
_MAX_BYTES = 1 << 15
_FLUSH_S = 1.0
"""Time for the message to reach the others before this rank leaves."""


@dataclass(frozen=True)
class Peer:
    """Where a rank receives heartbeats.

    Attributes:
        rank: Its rank.
        address: Address of its host, as the others reach it.
        port: UDP port.
        host: Name of its host.
        pid: Its process id.
        namespace: Host and namespace that the process id counts in.
        token: Rank 0's is the secret that every datagram carries.
    """

    rank: int
    address: str
    port: int
    host: str
    pid: int
    namespace: str
    token: str


class Heartbeat:
    """Sends this rank's heartbeats and watches those of others, in two threads.

    Args:
        ranks: Which rank this is.
        timeout_s: Time without progress within which a rank is found to stand still; ten times that
            while a rank starts or saves.
        leave: Ends the process at once with an exit code.
    """

    def __init__(
        self, ranks: Ranks, *, timeout_s: float, leave: Callable[[int], object] = os._exit
    ) -> None:
        """Open the socket; nothing is sent yet."""
        self._ranks = ranks
        # The next look, an interval later, would be too late.
        self._timeout_s = timeout_s - min(_INTERVAL_S, timeout_s / 10)
        self._leave = leave
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("", 0))
        self._socket.settimeout(_INTERVAL_S)
        self._progress = (0, "starting", time.monotonic())
        self._heard: dict[int, Heard] = {}
        self._closed = threading.Event()
        self.peer = Peer(
            ranks.rank,
            _own_address(),
            self._socket.getsockname()[1],
            socket.gethostname(),
            os.getpid(),
            _namespace(),
            secrets.token_hex(16),
        )
        self._peers: tuple[Peer, ...] = (self.peer,)
        self._on_stall: Callable[[Beat], None] = lambda beat: None

    def start(
        self, peers: Sequence[Peer], *, on_stall: Callable[[Beat], None] = lambda beat: None
    ) -> None:
        """Begin to send and to watch.

        Args:
            peers: Every rank's `peer`, in the order of ranks.
            on_stall: Told of the first rank that stands still, by whoever finds it, before the
                process ends.
        """
        self._peers = tuple(peers)
        self._on_stall = on_stall
        for work, name in ((self._send, "heartbeat"), (self._receive, "heartbeats of others")):
            threading.Thread(target=work, name=name, daemon=True).start()

    def note(self, step: int, doing: str) -> None:
        """Say what this rank begins to do; each call counts as progress.

        Args:
            step: Completed steps.
            doing: "starting", "reading data", "computing", "saving" or the like.
        """
        self._progress = (step, doing, time.monotonic())

    @property
    def step(self) -> int:
        """Completed steps that were noted last."""
        return self._progress[0]

    def close(self) -> None:
        """Stop sending and watching, and tell the others that this rank has come to its end."""
        self.note(self._progress[0], "ended")
        self._send_beat()
        self._closed.set()
        self._socket.close()

    def _find_stalled(self, now: float) -> list[Heard]:
        """Return the ranks to blame: rank 0 judges all; rank 1 sees only whether rank 0 lives."""
        if self._ranks.rank == 0:
            return find_stalled([*self._heard.values()], now=now, timeout_s=self._timeout_s)
        if self._ranks.rank == 1 and 0 in self._heard:
            return find_silent([self._heard[0]], now=now, timeout_s=self._timeout_s)
        return []

    def _beat(self) -> Beat:
        step, doing, since = self._progress
        return Beat(self._ranks.rank, self.peer.host, step, doing, time.monotonic() - since)

    def _send_beat(self) -> None:
        beat = self._beat()
        self._heard[beat.rank] = Heard(beat, time.monotonic())
        self._tell({"beat": asdict(beat)}, [p for p in self._peers[:2] if p.rank != beat.rank])

    def _tell(self, content: dict[str, Any], peers: Sequence[Peer]) -> None:
        data = json.dumps({"token": self._peers[0].token, **content}).encode()[:_MAX_BYTES]
        for peer in peers:
            with suppress(OSError):  # a lost datagram, or a host that has gone: silence says it
                self._socket.sendto(data, (peer.address, peer.port))

    def _send(self) -> None:
        self._send_beat()  # at once, so that a rank that stops soon was heard of
        while not self._closed.wait(_INTERVAL_S):
            self._send_beat()
            now = time.monotonic()
            if stalled := self._find_stalled(now):
                words = describe_stall(stalled, now=now)
                ranks = [item.beat.rank for item in stalled]
                others = [peer for peer in self._peers if peer.rank != self._ranks.rank]
                self._tell({"stalled": ranks}, others)
                logger.error("%s", words)
                self._on_stall(stalled[0].beat)
                self._end(ranks)
                return

    def _receive(self) -> None:
        while not self._closed.is_set():
            try:
                content = json.loads(self._socket.recv(_MAX_BYTES))
            except (OSError, ValueError):
                continue  # nothing came, or no datagram of ours
            if not isinstance(content, dict) or content.get("token") != self._peers[0].token:
                continue
            if "beat" in content:
                beat = Beat(**content["beat"])
                self._heard[beat.rank] = Heard(beat, time.monotonic())
            else:
                self._end(content["stalled"])

    def _end(self, stalled: Sequence[int]) -> None:
        """Print the stacks of this process, end the ranks that stand still here, and leave."""
        with suppress(OSError, ValueError):
            print(f"stacks of rank {self._ranks.rank}:", file=sys.stderr, flush=True)  # noqa: T201
            faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        time.sleep(_FLUSH_S)
        for rank in stalled:
            peer = self._peers[rank]
            if peer.pid != self.peer.pid and peer.namespace == self.peer.namespace:
                # A stopped process takes no SIGTERM, and launchers wait half a minute for it.
                with suppress(OSError):
                    os.kill(peer.pid, signal.SIGKILL)
        self._leave(STALLED_EXIT_CODE)


def _own_address() -> str:
    """Return the address of this host on the way to the main rank's."""
    try:
        return address_towards(os.environ.get("MASTER_ADDR", "127.0.0.1"))
    except OSError:
        return "127.0.0.1"


def _namespace() -> str:
    """Name what a process id counts in: containers of one host may have the same ids and names."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)
