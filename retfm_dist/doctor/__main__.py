"""`python -m retfm_dist.doctor check | facts | answer`: is this machine or cluster fit for a run?

Example: python -m retfm_dist.doctor check --config vitl_moorfields.yaml --hostfile hostfile
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from retfm_dist.console import run_command

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
CONFIG = typer.Option(help="A YAML file, or the name of one in configs/.")
SETTINGS = typer.Option("--set", help="Replace one value of the config, SECTION.FIELD=VALUE.")
DECODE = typer.Option(min=0.0, help="How long each host measures decoding; 0 leaves it out.")


@app.command()
def check(
    config: Annotated[str, CONFIG],
    settings: Annotated[list[str] | None, SETTINGS] = None,
    hostfile: Annotated[
        Path | None, typer.Option(help="Lines of HOST slots=N; default: this machine alone.")
    ] = None,
    shell: Annotated[
        str, typer.Option(help="How a host is reached: takes its name and a command.")
    ] = "ssh -o BatchMode=yes -o ConnectTimeout=10",
    address: Annotated[
        str | None, typer.Option(help="This host's address as the others reach it.")
    ] = None,
    images_per_second: Annotated[
        float | None, typer.Option(help="Throughput aimed at; default: 40 % of the GPUs' peak.")
    ] = None,
    decode_seconds: Annotated[float, DECODE] = 3.0,
) -> None:
    """Ask every host and compare with what the run needs; exit code 1 if something is wrong."""
    from retfm_dist.config import find_config, load_config
    from retfm_dist.doctor.hosts import Asking, ask_hosts, own_address, read_hostfile
    from retfm_dist.doctor.judge import judge
    from retfm_dist.doctor.needs import needs_of
    from retfm_dist.doctor.show import show_report

    def command() -> None:
        found = load_config(find_config(config), settings or [])
        named = [("this machine", None)] if hostfile is None else read_hostfile(hostfile)
        words = ["--config", str(find_config(config).resolve())]
        words += [word for item in settings or [] for word in ("--set", item)]
        words += ["--decode-seconds", str(decode_seconds)]
        own = (address or own_address(named[-1][0])) if len(named) > 1 else None
        how = Asking(None if hostfile is None else shell, tuple(words), own)
        hosts = ask_hosts(named, how)
        gpus = tuple(gpu for host in hosts if host.facts for gpu in host.facts.accelerators)
        needs = needs_of(
            found, num_hosts=len(hosts), accelerators=gpus, images_per_s=images_per_second
        )
        findings = judge(hosts, needs)
        show_report(hosts, needs, findings)
        if findings:
            raise SystemExit(1)

    run_command(command)


@app.command()
def facts(
    config: Annotated[str, CONFIG],
    settings: Annotated[list[str] | None, SETTINGS] = None,
    decode_seconds: Annotated[float, DECODE] = 3.0,
) -> None:
    """Print what this host says of itself as one line of JSON."""
    from retfm_dist.config import find_config, load_config
    from retfm_dist.doctor.facts import collect_facts

    def command() -> None:
        found = load_config(find_config(config), settings or [])
        print(json.dumps(asdict(collect_facts(found, decode_s=decode_seconds))))

    run_command(command)


@app.command()
def answer(
    place: Annotated[str, typer.Argument(help="ADDRESS:PORT of a check that waits.")],
) -> None:
    """Exchange data with a check; its secret comes on stdin."""
    from retfm_dist.doctor.link import answer_link

    def command() -> None:
        host, _, port = place.rpartition(":")
        answer_link(host, int(port), sys.stdin.read().strip())

    run_command(command)


if __name__ == "__main__":
    app()
