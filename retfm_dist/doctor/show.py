"""What the doctor prints."""

from collections.abc import Sequence

from retfm_dist.doctor.judge import Finding, Host, rate_text
from retfm_dist.doctor.needs import Needs

_GB = 1e9


def show_report(hosts: Sequence[Host], needs: Needs, findings: Sequence[Finding]) -> None:
    """Print one line a host, what the run needs, and every finding."""
    for host in hosts:
        print(f"{host.name}: {_describe(host)}")
    rate = "unknown" if needs.images_per_s is None else f"{needs.images_per_s:,.0f} images/s"
    offloaded = ""
    if needs.offload_bytes:
        offloaded = f"{needs.offload_bytes / _GB:.1f} GB a host for engine.offload_dir, "
    print(
        f"the run needs {needs.checkpoint_bytes / _GB:.1f} GB for checkpoints, {offloaded}"
        f"{needs.cores_per_rank} cores a rank, and sends {needs.step_bytes / _GB:.2f} GB a step "
        f"between hosts; throughput aimed at: {rate}"
    )
    for finding in findings:
        print(f"FOUND {finding.host}: {finding.what}; {finding.hint}")
    print(f"{len(findings)} findings on {len(hosts)} hosts" if findings else "nothing was found")


def _describe(host: Host) -> str:
    facts = host.facts
    if facts is None:
        return "no answer"
    parts = [
        f"{host.slots} ranks",
        f"{len(facts.accelerators)} x {facts.accelerators[0]}" if facts.accelerators else "no GPU",
        f"{facts.num_cores} cores",
        f"{facts.free_bytes / _GB:.0f} GB free",
        f"shards {facts.fingerprint[:12]}" if facts.fingerprint else "no shards",
    ]
    if facts.images_per_s is not None:
        parts.append(f"decodes {facts.images_per_s:,.0f} images/s a rank")
    if host.link is not None:
        parts.append(f"link {rate_text(host.link.bytes_per_s)}")
        parts.append(f"clock {host.link.clock_offset_s:+.3f} s")
    return ", ".join(parts)
