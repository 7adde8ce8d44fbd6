"""Clock and bandwidth between two hosts, over one TCP connection.

The host that asks listens; the other connects, answers a few times with its clock, and then sends
as much as the first says. Nothing else on the network can join: the first line is a secret.
"""

import json
import secrets
import socket
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_ROUNDS = 9
_BLOCK = 1 << 20
_LIMIT_S = 60.0


@dataclass(frozen=True)
class LinkFacts:
    """What was measured.

    Attributes:
        clock_offset_s: How far the other host's clock is ahead.
        bytes_per_s: From the other host to this one.
    """

    clock_offset_s: float
    bytes_per_s: float


class LinkServer:
    """Waits for one host and measures the way to it.

    Args:
        seconds: How long to receive.
    """

    def __init__(self, *, seconds: float) -> None:
        """Open a port."""
        self._seconds = seconds
        self._socket = socket.create_server(("", 0))
        self._socket.settimeout(_LIMIT_S)
        self.port: int = self._socket.getsockname()[1]
        self.token = secrets.token_hex(16)
        self._found: LinkFacts | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def result(self) -> LinkFacts | None:
        """Wait for the other host, and return what was measured; None where it did not come."""
        self._thread.join(timeout=self._seconds + 1)
        return self._found

    def close(self) -> None:
        """Stop waiting."""
        self._socket.close()

    def _serve(self) -> None:
        try:
            connection, _ = self._socket.accept()
            with connection, connection.makefile("rwb") as stream:
                connection.settimeout(_LIMIT_S)
                if stream.readline().strip() != self.token.encode():
                    return
                offsets = [self._ask(stream) for _ in range(_ROUNDS)]
                stream.write(b"send\n")
                stream.flush()
                self._found = LinkFacts(statistics.median(offsets), self._receive(connection))
        except (OSError, ValueError):
            return  # the other host went away; it is said that nothing was measured

    def _ask(self, stream) -> float:
        before = time.time()
        stream.write(b"clock\n")
        stream.flush()
        there = float(json.loads(stream.readline()))
        return there - (before + time.time()) / 2

    def _receive(self, connection: socket.socket) -> float:
        num_bytes, begun_at = 0, time.monotonic()
        while (elapsed_s := time.monotonic() - begun_at) < self._seconds:
            data = connection.recv(_BLOCK)
            if not data:
                break
            num_bytes += len(data)
        return num_bytes / max(elapsed_s, 1e-9)


def answer_link(
    address: str, port: int, token: str, *, now: Callable[[], float] = time.time
) -> None:
    """Connect to a `LinkServer` and do what it says until it closes.

    Args:
        address: Its host.
        port: Its port.
        token: Its secret.
        now: Time of this host, s since 1970.

    Raises:
        OSError: There is no way to it.
    """
    with socket.create_connection((address, port), timeout=_LIMIT_S) as connection:
        stream = connection.makefile("rwb")
        stream.write(token.encode() + b"\n")
        stream.flush()
        while stream.readline().strip() == b"clock":
            stream.write(json.dumps(now()).encode() + b"\n")
            stream.flush()
        block = bytes(_BLOCK)
        try:
            while True:
                connection.sendall(block)
        except OSError:
            return  # it has had enough
