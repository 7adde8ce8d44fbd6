r"""Pre-train a masked autoencoder.

On GPUs:          deepspeed launch/pretrain.py --config vitl_moorfields.yaml
On two CPU ranks: DS_ACCELERATOR=cpu deepspeed --num_accelerators 2 launch/pretrain.py \
                      --config fundus_cpu.yaml --set schedule.duration="2 epochs"
The same command again continues a run. SIGTERM, SIGINT, SIGUSR1 and run.time_limit_hours save after
the step and exit with code 75. torchrun and plain python work too.
"""

import argparse
import atexit
import logging
from functools import partial

from retfm_dist.ranks.orphans import stop_when_orphaned
from retfm_dist.ranks.stopping import REQUEUE_EXIT_CODE, StopRequest
from retfm_dist.ranks.world import ranks_from_environment
from retfm_dist.train.arguments import parse_arguments


def pretrain(arguments: argparse.Namespace, stop: StopRequest) -> bool:
    """Join the process group, build the model and train it; return whether to the end."""
    from retfm_dist.config import find_config, load_config
    from retfm_dist.ranks.failure import failing_once

    ranks = ranks_from_environment()
    overridden = frozenset(word.partition("=")[0] for word in arguments.intended)
    with failing_once(ranks):
        path = find_config(arguments.config)
        config = load_config(path, arguments.overrides + arguments.intended)
        config.check_world(ranks.world_size)
        from retfm_dist.data.loader import build_loader  # late: mistakes in the config come first
        from retfm_dist.model.pretraining import build_pretraining_model
        from retfm_dist.train.engine.process_group import start_ranks, stop_ranks
        from retfm_dist.train.fit import fit
        from retfm_dist.train.start import StartRequest

        device = start_ranks(ranks, config.run.collective_timeout_s, config.engine.device)
        is_finished = fit(
            config,
            build_model=partial(build_pretraining_model, config),
            build_loader=partial(build_loader, config, ranks=ranks, device=device),
            ranks=ranks,
            device=device,
            request=StartRequest(arguments.resume, arguments.fresh, overridden),
            stop=stop,
        )
        stop_ranks()
    return is_finished


def pretrain_or_stop(arguments: argparse.Namespace, stop: StopRequest) -> None:
    """Train, and keep torchrun from restarting what has been stopped or would fail again."""
    from retfm_dist.errors import ConfigError, RepeatedFailureError, TooManyBadSamplesError
    from retfm_dist.ranks.restarts import stop_restarts

    try:
        is_finished = pretrain(arguments, stop)
    except (ConfigError, RepeatedFailureError, TooManyBadSamplesError):
        atexit.register(stop_restarts)  # after the message
        raise
    if not is_finished:
        atexit.register(stop_restarts)
        raise SystemExit(REQUEUE_EXIT_CODE)


def main() -> None:
    """Run as a command: exit code 0, 1 with one message, 2 for bad usage, or 75 when stopped."""
    ranks = ranks_from_environment()
    stop = StopRequest(ranks).listen()
    stop_when_orphaned(stop)
    arguments = parse_arguments(__doc__ or "")
    from retfm_dist.console import run_command, set_up_logging

    set_up_logging(logging.INFO if ranks.is_main else logging.WARNING)
    run_command(lambda: pretrain_or_stop(arguments, stop))


if __name__ == "__main__":
    main()
