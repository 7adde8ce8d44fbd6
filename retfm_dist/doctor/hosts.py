"""Asking every host: the same command of this environment there, through ssh or the like."""

import json
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from retfm_dist.doctor.facts import HostFacts
from retfm_dist.doctor.judge import Host
from retfm_dist.doctor.link import LinkServer
from retfm_dist.errors import ConfigError

_LIMIT_S = 300.0
_LINK_S = 2.0
"""How long data are exchanged with each host."""


@dataclass(frozen=True)
class Asking:
    """How hosts are asked.

    Attributes:
        shell: Command that takes a host and, in one word, a command line for it, as ssh does; None
            runs it here.
        arguments: Of `python -m retfm_dist.doctor facts`.
        address: Of this host, as the others reach it; None measures no links.
    """

    shell: str | None
    arguments: tuple[str, ...]
    address: str | None


def read_hostfile(path: Path) -> list[tuple[str, int]]:
    """Read DeepSpeed's hostfile: lines of "HOST slots=N".

    Raises:
        ConfigError: It cannot be read, or a line is not of that form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("cannot read the hostfile", where=path, got=error) from error
    hosts = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        name, _, slots = words[-1].partition("=")
        if len(words) != 2 or name != "slots" or not slots.isdigit() or int(slots) < 1:
            raise ConfigError(
                "not a line of a hostfile",
                where=f"{path}:{number}",
                got=line.strip(),
                expected="HOST slots=N",
            )
        hosts.append((words[0], int(slots)))
    if not hosts:
        raise ConfigError("no host", where=path, expected="lines of HOST slots=N")
    return hosts


def address_towards(host: str) -> str:
    """Return the address of this machine on the way to a host; nothing is sent.

    Raises:
        ConfigError: The host has no address here, as an alias of ssh has none.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            return probe.getsockname()[0]
    except OSError as error:
        raise ConfigError(
            "no address of this machine on the way to the host",
            where=host,
            got=error,
            hint="state it with --address",
        ) from error


def ask_hosts(hosts: Sequence[tuple[str, int | None]], asking: Asking) -> list[Host]:
    """Ask all hosts at once, but measure the links one after the other, so that they do not share.

    Args:
        hosts: Name and slots of each; None is one rank a GPU, or one.
        asking: How.
    """
    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        without = Asking(asking.shell, asking.arguments, None)
        found = list(pool.map(lambda host: _ask(host[0], host[1], without), hosts))
    if asking.address is None:
        return found
    light = (*asking.arguments, "--decode-seconds", "0")
    by_link = Asking(asking.shell, light, asking.address)
    return [
        Host(host.name, host.slots, host.facts, _ask(host.name, host.slots, by_link).link)
        if host.facts is not None
        else host
        for host in found
    ]


def _ask(name: str, slots: int | None, asking: Asking) -> Host:
    """Run the command on one host."""
    command = [sys.executable, "-m", "retfm_dist.doctor", "facts", *asking.arguments]
    server = None
    if asking.address is not None:
        server = LinkServer(seconds=_LINK_S)
        command += ["--link", f"{asking.address}:{server.port}"]
    line = f"cd {shlex.quote(str(Path.cwd()))} && exec {shlex.join(command)}"
    way = ["sh", "-c"] if asking.shell is None else [*shlex.split(asking.shell), name]
    try:
        done = subprocess.run(
            [*way, line],
            # The secret of the connection goes through a pipe: a command line is public.
            input=server.token if server else "",
            capture_output=True, text=True, timeout=_LIMIT_S, check=False,
        )  # fmt: skip
        facts = _parse(done)
        slots = slots or max(1, len(facts.accelerators))
        return Host(name, slots, facts, server.result() if server else None)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return Host(name, slots or 1, None, error=str(error).strip() or "no answer")
    finally:
        if server is not None:
            server.close()


def _parse(done: subprocess.CompletedProcess[str]) -> HostFacts:
    """Return the facts in the last line of a command's output."""
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        said = done.stderr.strip().splitlines()
        raise ValueError(said[-1] if said else f"exit code {done.returncode}")
    values = json.loads(lines[-1])
    for name in ("accelerators", "exported_secrets"):
        values[name] = tuple(values[name])
    return HostFacts(**values)
