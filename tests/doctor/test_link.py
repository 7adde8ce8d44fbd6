import socket
import threading
import time

import pytest

from retfm_dist.doctor.link import LinkServer, answer_link


def measure(*, ahead_s=0.0, token=None):
    server = LinkServer(seconds=0.3)
    answer = threading.Thread(
        target=answer_link,
        args=("127.0.0.1", server.port, token or server.token),
        kwargs={"now": lambda: time.time() + ahead_s},
    )
    answer.start()
    found = server.result()
    answer.join(timeout=20)
    server.close()
    assert not answer.is_alive()
    return found


@pytest.mark.parametrize("ahead_s", [0.0, 3.0, -500.0])
def test_a_clock_that_differs_is_measured(ahead_s):
    found = measure(ahead_s=ahead_s)
    assert found.clock_offset_s == pytest.approx(ahead_s, abs=0.2)
    assert found.bytes_per_s > 50e6


def test_a_slow_link_is_measured():
    server = LinkServer(seconds=1.0)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        stream = connection.makefile("rwb")
        stream.write(server.token.encode() + b"\n")
        stream.flush()
        while stream.readline().strip() == b"clock":
            stream.write(b"1.0\n")
            stream.flush()
        for _ in range(12):
            connection.sendall(bytes(100_000))
            time.sleep(0.1)
    assert server.result().bytes_per_s == pytest.approx(1e6, rel=0.4)
    server.close()


def test_whoever_does_not_know_the_secret_is_not_measured():
    assert measure(token="0" * 32) is None


def test_a_host_that_goes_away_is_not_measured():
    server = LinkServer(seconds=1.0)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(server.token.encode() + b"\n")
    assert server.result() is None
    server.close()
