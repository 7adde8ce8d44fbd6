"""The long run: `python -m tests.faults --faults 200 --seed 0`."""

import argparse
import collections
import tempfile
import time
from pathlib import Path

from tests.fakes.jobs import pack_discs
from tests.faults.drive import EVERY, run_straight, run_with_faults


def main() -> None:
    """Hit runs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=400, help="length of a run")
    arguments = parser.parse_args()
    begun_at = time.monotonic()
    hits = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shards = pack_discs(folder)
        run_straight(shards, folder / "straight", num_steps=arguments.steps)
        for found in run_with_faults(
            shards, folder, seed=arguments.seed, num_faults=arguments.faults,
            num_steps=arguments.steps,
        ):  # fmt: skip
            hits.append(found)
            print(
                f"{len(hits):4d}  {found.fault}; reached {found.reached}, went on from "
                f"{'its end' if found.resumed is None else found.resumed}",
                flush=True,
            )
    print_table(hits, minutes=(time.monotonic() - begun_at) / 60)


def print_table(hits, *, minutes: float) -> None:
    """Print the counts, and the most work that a fault cost."""
    for attribute in ("moment", "target", "damage"):
        counts = collections.Counter(getattr(found.fault, attribute) for found in hits)
        print(f"{attribute}: " + ", ".join(f"{name} {n}" for name, n in sorted(counts.items())))
    undamaged = [found.lost for found in hits if not found.was_damaged]
    print(
        f"{len(hits)} faults in {minutes:.0f} min, no manual step, every run ended with the same "
        f"bits; steps lost at most {max(undamaged, default=0)} (interval {EVERY}), "
        f"{max((found.lost for found in hits), default=0)} where the newest checkpoint was damaged"
    )


if __name__ == "__main__":
    main()
