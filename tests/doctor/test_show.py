"""The whole command: real processes for hosts, each with another fault."""

import os
import re
import subprocess
import sys

import pytest

from tests.fakes.jobs import pack_discs
from tests.fakes.processes import CONFIG, environment

pytestmark = pytest.mark.slow

SHELL = """#!/bin/sh
# Runs a command line "on a host": here, as that host would.
case "$1" in
    few_files) ulimit -n 256 ;;
    secret) export MLFLOW_TRACKING_TOKEN=1 ;;
    bound) exec taskset -c 0 sh -c "$2" ;;
    away) echo "ssh: connect to host away port 22: No route to host" >&2; exit 255 ;;
    no_set) exec sh -c "$(echo "$2" | sed s,/set,/nowhere,)" ;;
    no_link) exec sh -c "$(echo "$2" | sed 's,127.0.0.1:[0-9]*,127.0.0.1:9,')" ;;
esac
exec sh -c "$2"
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return pack_discs(tmp_path_factory.mktemp("shards"))


def check(shards, tmp_path, hosts, *words):
    (tmp_path / "shell").write_text(SHELL)
    (tmp_path / "shell").chmod(0o755)
    (tmp_path / "hostfile").write_text("".join(f"{name} slots=1\n" for name in hosts))
    command = [
        sys.executable, "-m", "retfm_dist.doctor", "check", "--config", CONFIG,
        "--set", f"data.shards={shards}", "--set", f"run.dir={tmp_path / 'run'}",
        "--decode-seconds", "0", *words,
    ]  # fmt: skip
    if hosts:
        command += ["--hostfile", tmp_path / "hostfile", "--shell", tmp_path / "shell",
                    "--address", "127.0.0.1"]  # fmt: skip
    variables = environment() | {"GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=200)


def test_a_sound_machine_passes(shards, tmp_path):
    done = check(shards, tmp_path, [], "--decode-seconds", "0.5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was found" in done.stdout
    assert re.search(r"this machine: 1 ranks, .*decodes [\d,]+ images/s a rank", done.stdout)


def test_every_host_is_asked_and_each_fault_named_at_its_own(shards, tmp_path):
    hosts = ["sound", "few_files", "secret", "away", "no_set", "no_link"]
    if len(os.sched_getaffinity(0)) > 1:
        hosts.append("bound")
    done = check(shards, tmp_path, hosts)
    assert done.returncode == 1, done.stderr
    found = dict(re.findall(r"^FOUND (\w+): (.*)$", done.stdout, re.MULTILINE))
    assert "may open 256 files" in found["few_files"]
    assert "MLFLOW_TRACKING_TOKEN would stand on a command line" in found["secret"]
    assert "No route to host" in found["away"]
    assert "not a complete shard set" in found["no_set"]
    assert "no connection from it" in found["no_link"]
    assert "sound" not in found
    if "bound" in hosts:
        assert "may use 1 cores, 1 ranks want 2" in found["bound"]
    assert f"{len(found)} findings on {len(hosts)} hosts" in done.stdout
    assert "link" in re.search("^sound: .*$", done.stdout, re.MULTILINE)[0]


def test_a_mistake_is_one_line(shards, tmp_path):
    done = check(shards, tmp_path, ["x slots"])
    assert done.returncode == 1
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
