r"""Pre-train a masked autoencoder.

On GPUs:          deepspeed launch/pretrain.py --config vitl_moorfields.yaml
On two CPU ranks: DS_ACCELERATOR=cpu deepspeed --num_accelerators 2 launch/pretrain.py \
                      --config fundus_cpu.yaml --set schedule.duration="2 epochs"
The same command again continues a run. SIGTERM, SIGINT, SIGUSR1 and run.time_limit_hours save after
the step and exit with code 75. torchrun and plain python work too.
"""

import argparse
import logging
import os
from functools import partial
from pathlib import Path

from retfm_dist.ranks.orphans import stop_when_orphaned
from retfm_dist.ranks.stopping import REQUEUE_EXIT_CODE, StopRequest
from retfm_dist.ranks.world import ranks_from_environment


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", required=True, help="a YAML file, or the name of one in configs/")
    add("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", dest="overrides",
        help="replace one value of the config; may be repeated")  # fmt: skip
    start = parser.add_mutually_exclusive_group().add_argument
    start("--resume", type=Path, metavar="CHECKPOINT", help="default: the run's newest checkpoint")
    start("--fresh", dest="resume", action="store_const", const="fresh",
          help="start at step 0; the directory's earlier history goes to before_NNN/")  # fmt: skip
    add("--local_rank", help="passed by DeepSpeed's launcher")
    arguments = parser.parse_args()
    if arguments.local_rank not in (None, os.environ.get("LOCAL_RANK", arguments.local_rank)):
        parser.error(f"--local_rank {arguments.local_rank} is not LOCAL_RANK of the environment")
    return arguments


def pretrain(arguments: argparse.Namespace, stop: StopRequest) -> None:
    """Read the config, join the process group, build the model, and train it."""
    from retfm_dist.config import find_config, load_config
    from retfm_dist.data.loader import build_loader
    from retfm_dist.model.pretraining import build_pretraining_model
    from retfm_dist.ranks.failure import failing_once
    from retfm_dist.train.engine.process_group import start_ranks, stop_ranks
    from retfm_dist.train.fit import fit

    ranks = ranks_from_environment()
    with failing_once(ranks):
        config = load_config(find_config(arguments.config), arguments.overrides)
        config.check_world(ranks.world_size)
        device = start_ranks(ranks)
        is_finished = fit(
            config,
            build_model=partial(build_pretraining_model, config),
            build_loader=partial(build_loader, config, ranks=ranks, device=device),
            ranks=ranks,
            device=device,
            resume=arguments.resume,
            stop=stop,
        )
        stop_ranks()
    raise SystemExit(0 if is_finished else REQUEUE_EXIT_CODE)


def main() -> None:
    """Run as a command: exit code 0, 1 with one message, 2 for bad usage, or 75 when stopped."""
    stop = StopRequest(ranks_from_environment()).listen()
    stop_when_orphaned(stop)
    arguments = parse_arguments()
    from retfm_dist.console import run_command, set_up_logging

    set_up_logging(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING)
    run_command(lambda: pretrain(arguments, stop))


if __name__ == "__main__":
    main()
