"""Addresses of this host, as other hosts see them."""

import socket


def address_towards(host: str) -> str:
    """Return the address of this machine on the way to a host; nothing is sent.

    Raises:
        OSError: The host has no address, or there is no way to it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        return probe.getsockname()[0]
