"""Comparison of what the hosts are with what the run needs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from retfm_dist.doctor.facts import HostFacts
from retfm_dist.doctor.link import LinkFacts
from retfm_dist.doctor.needs import Needs

_CLOCK_S = 1.0
_LINK_SHARE = 0.25
"""Of a step: what communication that is not hidden behind computation may take."""
_GB = 1e9
_IN_MEMORY = {"tmpfs", "ramfs"}
_OVER_A_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "9p"}


@dataclass(frozen=True)
class Host:
    """One host of the cluster.

    Attributes:
        name: As the hostfile has it.
        slots: Ranks that it will run.
        facts: What it says of itself; None where it could not be asked.
        link: Way from it to the host that asks; None where there is no other or none was measured.
        error: Why it could not be asked.
    """

    name: str
    slots: int
    facts: HostFacts | None
    link: LinkFacts | None = None
    error: str | None = None


@dataclass(frozen=True)
class Finding:
    """What is wrong with one host.

    Attributes:
        host: Its name.
        what: What is wrong, with what was found and expected.
        hint: What to do.
    """

    host: str
    what: str
    hint: str


def judge(hosts: Sequence[Host], needs: Needs) -> list[Finding]:
    """Return everything that would waste time on these hosts, host by host."""
    asked = [host for host in hosts if host.facts is not None]
    findings = [
        Finding(
            host.name, f"cannot be asked: {host.error}", "check ssh, the path and the environment"
        )
        for host in hosts
        if host.facts is None
    ]
    for host in asked:
        findings += _alone(host, needs, num_hosts=len(hosts))
        findings += _beside(host, asked)
        findings += _reached(host, needs, num_hosts=len(hosts))
    return findings


def _alone(host: Host, needs: Needs, *, num_hosts: int) -> Iterator[Finding]:
    """Yield what is wrong with a host whatever the others are."""
    facts = host.facts
    assert facts is not None
    if facts.data_error is not None:
        yield Finding(host.name, facts.data_error, "copy or mount the shard set there")
    if facts.free_bytes < needs.checkpoint_bytes:
        yield Finding(
            host.name,
            f"{facts.free_bytes / _GB:.1f} GB are free for run.dir, its checkpoints need "
            f"{needs.checkpoint_bytes / _GB:.1f} GB",
            "free some space, or lower checkpoint.keep_last",
        )
    yield from _offloading(host.name, facts, needs)
    if facts.open_files < needs.open_files:
        yield Finding(
            host.name,
            f"a process may open {facts.open_files} files, training needs {needs.open_files}",
            "raise it: ulimit -n 65536, or LimitNOFILE= of the service",
        )
    if facts.num_cores < (wanted := host.slots * needs.cores_per_rank):
        yield Finding(
            host.name,
            f"processes may use {facts.num_cores} cores, {host.slots} ranks want {wanted}",
            "undo the binding (taskset, cgroup, --cpus-per-task), or lower data.decode_threads",
        )
    if facts.exported_secrets:
        yield Finding(
            host.name,
            f"{', '.join(facts.exported_secrets)} would stand on a command line of every host",
            "unset it where deepspeed starts; put it in a file that only the main rank reads",
        )
    if facts.images_per_s is not None and needs.images_per_s is not None:
        wanted_rate = needs.images_per_s / num_hosts
        if (rate := facts.images_per_s * host.slots) < wanted_rate:
            yield Finding(
                host.name,
                f"decodes {rate:,.0f} images/s with {host.slots} ranks, {wanted_rate:,.0f} are "
                "wanted",
                "raise data.decode_threads, pack smaller images, or decode on the GPU",
            )


def _offloading(name: str, facts: HostFacts, needs: Needs) -> Iterator[Finding]:
    """Yield what is wrong with the disk that the optimizer's state is to be on."""
    if not needs.offload_bytes:
        return
    hint = "name another directory of a local disk, the same on all hosts"
    if facts.offload_free_bytes is None:
        yield Finding(name, "engine.offload_dir is not a directory", hint)
        return
    if (kind := facts.offload_file_system) in _IN_MEMORY:
        yield Finding(name, f"engine.offload_dir is on {kind}, which is the host's memory", hint)
    elif kind in _OVER_A_NETWORK:
        yield Finding(name, f"engine.offload_dir is on {kind}, over a network", hint)
    wanted = needs.offload_bytes + (needs.checkpoint_bytes if facts.is_one_disk else 0)
    if facts.offload_free_bytes < wanted:
        beside = ", the checkpoints included" if facts.is_one_disk else ""
        yield Finding(
            name,
            f"{facts.offload_free_bytes / _GB:.1f} GB are free for engine.offload_dir, it needs "
            f"{wanted / _GB:.1f} GB{beside}",
            hint,
        )


def _beside(host: Host, asked: Sequence[Host]) -> Iterator[Finding]:
    """Yield in what a host differs from most of the others."""
    facts = host.facts
    assert facts is not None
    everyone = [other.facts for other in asked if other.facts is not None]
    for name in sorted({name for other in everyone for name in other.versions}):
        usual = _most_common([other.versions.get(name, "none") for other in everyone])
        if (own := facts.versions.get(name, "none")) != usual:
            yield Finding(
                host.name, f"has {name} {own}, the others {usual}", "install the same everywhere"
            )
    known = [other.fingerprint for other in everyone if other.fingerprint]
    if facts.fingerprint and facts.fingerprint != (usual := _most_common(known)):
        yield Finding(
            host.name,
            f"has the shard set {facts.fingerprint[:12]}, the others {usual[:12]}",
            "copy the same set everywhere",
        )
    if len(asked) > 1 and facts.is_loopback and not facts.has_interface:
        yield Finding(
            host.name,
            "its own name leads to 127.0.0.1, where gloo would wait for the others",
            "set GLOO_SOCKET_IFNAME (and NCCL_SOCKET_IFNAME), also in .deepspeed_env",
        )


def _reached(host: Host, needs: Needs, *, num_hosts: int) -> Iterator[Finding]:
    """Yield what is wrong with the way to a host."""
    if host.link is None:
        if num_hosts > 1:
            yield Finding(
                host.name, "no connection from it to this host", "open the ports between the hosts"
            )
        return
    if abs(offset_s := host.link.clock_offset_s) > _CLOCK_S:
        side = "ahead of" if offset_s > 0 else "behind"
        yield Finding(
            host.name,
            f"its clock is {abs(offset_s):.1f} s {side} this host's",
            "run chrony or ntpd on both; logs, locks and S3 go by the clock",
        )
    took_s = needs.step_bytes / max(host.link.bytes_per_s, 1.0)
    if needs.step_s is not None and took_s > _LINK_SHARE * needs.step_s:
        yield Finding(
            host.name,
            f"the link carries {rate_text(host.link.bytes_per_s)}; a step of "
            f"{needs.step_s:.2f} s would communicate for {took_s:.2f} s",
            "use the fast interface (NCCL_SOCKET_IFNAME, NCCL_IB_HCA), or accumulate more",
        )


def rate_text(bytes_per_s: float) -> str:
    """Return a rate as people write it."""
    small = bytes_per_s < _GB / 10
    return f"{bytes_per_s / 1e6:.1f} MB/s" if small else f"{bytes_per_s / _GB:.2f} GB/s"


def _most_common(values: Sequence[str]) -> str:
    """Return what most hosts have; of two equally common, what the first of them has."""
    return Counter(values).most_common(1)[0][0]
