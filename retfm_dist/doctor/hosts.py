"""Asking every host: the same command of this environment there, through ssh or the like."""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from retfm_dist.doctor.facts import HostFacts
from retfm_dist.doctor.judge import Host
from retfm_dist.doctor.link import LinkFacts, LinkServer
from retfm_dist.errors import ConfigError
from retfm_dist.ranks.addresses import address_towards

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


def own_address(host: str) -> str:
    """Return the address of this machine on the way to a host.

    Raises:
        ConfigError: The host has no address here, as an alias of ssh has none.
    """
    try:
        return address_towards(host)
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
        found = list(pool.map(lambda host: _ask(host[0], host[1], asking), hosts))
    if asking.address is None:
        return found
    return [
        host if host.facts is None else replace(host, link=_measure_link(host.name, asking))
        for host in found
    ]


def _ask(name: str, slots: int | None, asking: Asking) -> Host:
    """Let a host say what it is."""
    try:
        facts = _parse(_run_there(name, asking, ("facts", *asking.arguments)))
        return Host(name, slots or max(1, len(facts.accelerators)), facts)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return Host(name, slots or 1, None, error=str(error).strip() or "no answer")


def _measure_link(name: str, asking: Asking) -> LinkFacts | None:
    """Let a host connect to this one; None where it does not."""
    server = LinkServer(seconds=_LINK_S)
    try:
        # The secret of the connection goes through a pipe: a command line is public.
        place = f"{asking.address}:{server.port}"
        done = _run_there(name, asking, ("answer", place), text=server.token)
        return server.result() if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired):
        return None
    finally:
        server.close()


def _run_there(
    name: str, asking: Asking, words: Sequence[str], *, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command of this module on a host, in this directory and environment."""
    command = [sys.executable, "-m", "retfm_dist.doctor", *words]
    line = f"cd {shlex.quote(str(Path.cwd()))} && exec {shlex.join(command)}"
    way = ["sh", "-c"] if asking.shell is None else [*shlex.split(asking.shell), name]
    return subprocess.run(
        [*way, line], input=text, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )


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
