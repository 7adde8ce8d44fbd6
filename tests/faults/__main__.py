"""The long runs of faults.

python -m tests.faults kills    [--faults 200] [--seed 0]   any process, any moment, bits compared
python -m tests.faults verdicts [--jobs 100] [--seed 0]     go on, or stop with the reason
python -m tests.faults time     [--faults 4] [--seed 0]     effective time with a fault per stretch
"""

import argparse
import collections
import shutil
import tempfile
import time
from pathlib import Path

from tests.fakes.jobs import pack_discs
from tests.faults.drive import MOST_LOST, run_straight, run_with_faults
from tests.faults.effective import effective_time
from tests.faults.verdicts import CHANGES, STEPS, run_jobs


def main() -> None:
    """Run what was asked for and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    kills = commands.add_parser("kills")
    kills.add_argument("--faults", type=int, default=200)
    kills.add_argument("--steps", type=int, default=400, help="length of a run")
    kills.set_defaults(run=run_kills)
    verdicts = commands.add_parser("verdicts")
    verdicts.add_argument("--jobs", type=int, default=100)
    verdicts.set_defaults(run=run_verdicts)
    effective = commands.add_parser("time")
    effective.add_argument("--faults", type=int, default=4)
    effective.add_argument("--stretch", type=float, default=600.0, help="seconds to a fault")
    effective.set_defaults(run=run_time)
    for command in (kills, verdicts, effective):
        command.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faults_"))  # stays where a run fails, to be looked at
    arguments.run(arguments, pack_discs(folder), folder)
    shutil.rmtree(folder)


def run_kills(arguments: argparse.Namespace, shards: Path, folder: Path) -> None:
    """Hit runs, and print the counts and the most work that a fault cost."""
    begun_at, hits = time.monotonic(), []
    run_straight(shards, folder / "straight", num_steps=arguments.steps)
    for found in run_with_faults(
        shards, folder, seed=arguments.seed, num_faults=arguments.faults, num_steps=arguments.steps
    ):
        hits.append(found)
        went_on = "its end" if found.resumed is None else found.resumed
        print(f"{len(hits):4d}  {found.fault}; reached {found.reached}, went on from {went_on}",
              flush=True)  # fmt: skip
    for attribute in ("moment", "target", "damage"):
        counts = collections.Counter(getattr(found.fault, attribute) for found in hits)
        print(f"{attribute}: " + ", ".join(f"{name} {n}" for name, n in sorted(counts.items())))
    undamaged = [found.lost for found in hits if not found.was_damaged]
    print(
        f"{len(hits)} faults in {(time.monotonic() - begun_at) / 60:.0f} min, no manual step, every "
        f"run ended with the same bits; steps lost at most {max(undamaged, default=0)} (allowed "
        f"{MOST_LOST}), {max((found.lost for found in hits), default=0)} where the newest checkpoint "
        "was damaged"
    )


def run_verdicts(arguments: argparse.Namespace, shards: Path, folder: Path) -> None:
    """Let jobs fail, and print which were judged rightly."""
    run_straight(shards, folder / "straight", num_steps=STEPS, changes=CHANGES)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    num_right = 0
    for number, job in enumerate(
        run_jobs(shards, folder, seed=arguments.seed, num_jobs=arguments.jobs), start=1
    ):
        counts[job.pattern, job.blows[0].kind] += 1
        num_right += job.is_right
        print(f"{number:4d}  {'right' if job.is_right else 'WRONG'}  {job}", flush=True)
    for (pattern, kind), count in sorted(counts.items()):
        print(f"{pattern:10s} {kind:20s} {count}")
    print(f"{num_right} of {arguments.jobs} verdicts are right")


def run_time(arguments: argparse.Namespace, shards: Path, folder: Path) -> None:
    """Kill ranks, one fault per stretch, and print the effective-time ratio."""
    ratio, gaps = effective_time(
        shards, folder / "run", fault_every_s=arguments.stretch, num_faults=arguments.faults,
        seed=arguments.seed,
    )  # fmt: skip
    print(f"effective time {100 * ratio:.2f} % with {len(gaps)} faults, one per "
          f"{arguments.stretch:.0f} s; from a kill to the next write of metrics: "
          f"{', '.join(f'{gap:.1f}' for gap in gaps)} s")  # fmt: skip


if __name__ == "__main__":
    main()
