"""The doctor on two hosts with an sshd each, one of them sick in every way that it looks for."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.hosts import FIRST, SECOND, can_use_pdsh, ssh_between, two_hosts
from tests.fakes.jobs import pack_discs
from tests.fakes.processes import CONFIG, environment

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(not can_use_pdsh(), reason="needs root and sshd"),
]

_FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def check(tmp_path, shards, *, before="", variables="", slow=False):
    """Return what the doctor says of both hosts."""
    (tmp_path / "hostfile").write_text(f"{FIRST} slots=1\n{SECOND} slots=1\n")
    command = [
        sys.executable, "-m", "retfm_dist.doctor", "check", "--config", CONFIG,
        "--set", f"data.shards={shards}", "--set", f"run.dir={tmp_path / 'runs' / 'a'}",
        "--decode-seconds", "0", "--hostfile", tmp_path / "hostfile", "--images-per-second", "2000",
    ]  # fmt: skip
    with two_hosts(as_root=True) as hosts:
        if hosts is None:
            pytest.skip("no networks of one's own here")
        if slow:
            limit = "tc qdisc add dev eth0 root tbf rate 20mbit burst 32kbit latency 400ms"
            subprocess.run([*hosts.second, *limit.split()], check=True)
        with ssh_between(hosts, tmp_path, before=before, variables=variables) as ours:
            path = f"{ours['PATH']}{os.pathsep}{environment()['PATH']}"
            return subprocess.run(
                [*hosts.first, *command], capture_output=True, text=True, timeout=200,
                env={**environment(), **ours, "PATH": path, "GLOO_SOCKET_IFNAME": "eth0"},
            )  # fmt: skip


def test_two_sound_hosts_pass(tmp_path):
    done = check(tmp_path, pack_discs(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was found" in done.stdout


@pytest.mark.skipif(_FAKETIME is None, reason="needs libfaketime")
def test_each_planted_fault_is_found_at_its_host(tmp_path):
    shards = pack_discs(tmp_path)
    (tmp_path / "runs").mkdir()
    without = shutil.copytree(shards, tmp_path / "without")
    next(without.glob("*.tar")).unlink()
    files = importlib.metadata.files("timm") or []
    (named,) = [file for file in files if file.name == "METADATA"]
    metadata = Path(str(named.locate()))
    (tmp_path / "METADATA").write_text(
        re.sub(r"^Version: .*$", "Version: 0.0.1", metadata.read_text(), flags=re.MULTILINE)
    )
    done = check(
        tmp_path, shards, slow=True,
        before=f"mount --bind {without} {shards}\nmount --bind {tmp_path}/METADATA {metadata}\n"
        f"mount -t tmpfs -o size=1m none {tmp_path}/runs\nulimit -n 256\ntaskset -pc 0 $$",
        variables=f"LD_PRELOAD={_FAKETIME} FAKETIME=+30s FAKETIME_DONT_FAKE_MONOTONIC=1 "
        "MLFLOW_TRACKING_TOKEN=1",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    found = re.findall(r"^FOUND (\S+): (.*)$", done.stdout, re.MULTILINE)
    assert {host for host, _ in found} == {SECOND}, done.stdout
    for what in (
        "has timm 0.0.1, the others", "tars of the shard set are missing", "are free for run.dir",
        "may open 256 files", "may use 1 cores", "MLFLOW_TRACKING_TOKEN would stand",
        "ahead of this host's", "the link carries",
    ):  # fmt: skip
        assert any(what in text for _, text in found), (what, done.stdout)
