"""Command line of a training run, read by every rank and spoken of by one."""

import argparse
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from retfm_dist.ranks.world import ranks_from_environment


def parse_arguments(description: str, words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; what is wrong with it is said by the main rank alone.

    Args:
        description: Text of --help.
        words: The arguments; None takes those of the process.

    Raises:
        SystemExit: With code 2 for bad usage, 0 after --help.
    """
    with contextlib.ExitStack() as stack:
        if not ranks_from_environment().is_main:
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="ascii"))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        return _parse(description, words)


def _parse(description: str, words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", required=True, help="a YAML file, or the name of one in configs/")
    field = {"action": "append", "default": [], "metavar": "SECTION.FIELD=VALUE"}
    add("--set", dest="overrides", help="replace one value of the config; may be repeated", **field)
    add("--override", dest="intended",
        help="as --set, for what a run in progress keeps unless told: the learning rate, the "
        "precision, stability.*; recorded with the run", **field)  # fmt: skip
    add(
        "--exclude-uids",
        type=Path,
        metavar="FILE",
        help="uids, one a line, of images that are never trained on; all others keep their places",
    )
    start = parser.add_mutually_exclusive_group().add_argument
    start("--resume", type=Path, metavar="CHECKPOINT", help="default: the run's newest checkpoint")
    start("--fresh", action="store_true",
          help="start at step 0; the directory's earlier history goes to before_NNN/")  # fmt: skip
    add("--local_rank", help="passed by DeepSpeed's launcher")
    arguments = parser.parse_args(words)
    if arguments.exclude_uids is not None:
        arguments.overrides.append(f"data.exclude_uids={arguments.exclude_uids}")
    if arguments.local_rank not in (None, os.environ.get("LOCAL_RANK", arguments.local_rank)):
        parser.error(f"--local_rank {arguments.local_rank} is not LOCAL_RANK of the environment")
    return arguments
