"""Two hosts on one machine: network namespaces with names of their own, and a link between them."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FIRST, SECOND = "10.77.0.1", "10.77.0.2"
_LAY_OUT = f"""
ip link set lo up
hostname first-host
unshare --net --uts sh -c 'hostname second-host; exec sleep 900' &
second=$!
sleep 0.5
ip link add eth0 type veth peer name eth0 netns $second
ip addr add {FIRST}/24 dev eth0 && ip link set eth0 up
nsenter --net --target $second sh -c \\
    "ip link set lo up; ip addr add {SECOND}/24 dev eth0; ip link set eth0 up" && echo $second
exec sleep 900
"""
_SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


@dataclass(frozen=True)
class Hosts:
    """How to start a command on either host, first words of a command line."""

    first: list[str]
    second: list[str]

    def set_link(self, state: str) -> None:
        """Take the link between the hosts "down" or "up"."""
        subprocess.run([*self.first, "ip", "link", "set", "eth0", state], check=True)


@contextlib.contextmanager
def two_hosts(*, as_root: bool = False) -> Iterator[Hosts | None]:
    """Lay out two hosts; None where this machine does not allow networks of one's own.

    Args:
        as_root: With this user's rights instead of those of a user namespace; sshd needs that.
    """
    own = [] if as_root else ["--map-root-user"]
    holder = subprocess.Popen(
        ["unshare", *own, "--net", "--uts", "--kill-child", "sh", "-c", _LAY_OUT],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    second = ""
    try:
        assert holder.stdout is not None
        second = holder.stdout.readline().strip()
        users = [] if as_root else ["--user", "--preserve-credentials"]
        enter = ["nsenter", "--net", "--uts", *users, "--target"]
        yield Hosts([*enter, str(holder.pid)], [*enter, second]) if second else None
    finally:
        if second:
            subprocess.run(["kill", second], check=False)
        holder.kill()
        holder.communicate()


def can_use_pdsh() -> bool:
    """Whether this user may run sshd in networks of its own, and pdsh is there."""
    return os.geteuid() == 0 and Path(_SSHD).exists() and shutil.which("pdsh") is not None


@contextlib.contextmanager
def ssh_between(
    hosts: Hosts, folder: Path, *, before: str = "", variables: str = ""
) -> Iterator[dict[str, str]]:
    """Run an sshd on both hosts, with keys of their own.

    Args:
        hosts: The hosts.
        folder: Where keys and configuration go.
        before: Shell commands on the second host, in file systems of its own, that its sshd and
            all that is started through it inherit.
        variables: NAME=value words that sessions on the second host have.

    Yields:
        Variables with which ssh and pdsh go from host to host without a question.
    """
    for name in ("host_key", "user_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True
        )
    for name, line in (("first", ""), ("second", f"SetEnv {variables}\n" if variables else "")):
        (folder / f"sshd_{name}").write_text(
            f"HostKey {folder}/host_key\nAuthorizedKeysFile {folder}/user_key.pub\n"
            "StrictModes no\nPermitRootLogin prohibit-password\nUsePAM no\nPidFile none\n" + line
        )
    (folder / "ssh_config").write_text(
        f"IdentityFile {folder}/user_key\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n"
        "LogLevel ERROR\nServerAliveInterval 5\nServerAliveCountMax 2\n"
    )
    programs = folder / "programs"
    programs.mkdir()
    own_ssh = f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n'
    (programs / "ssh").write_text(own_ssh)
    (programs / "ssh").chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)
    serve = f"{before}\nexec {_SSHD} -D -e -f {folder}/sshd_second"
    servers = [
        subprocess.Popen([*enter, *words], stderr=subprocess.DEVNULL)
        for enter, words in (
            (hosts.first, [_SSHD, "-D", "-e", "-f", folder / "sshd_first"]),
            (hosts.second, ["unshare", "--mount", "sh", "-ec", serve]),
        )
    ]
    try:
        time.sleep(0.5)
        assert [server.poll() for server in servers] == [None, None], "no sshd"
        yield {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PDSH_RCMD_TYPE": "ssh"}
    finally:
        for server in servers:
            server.kill()
            server.wait()
