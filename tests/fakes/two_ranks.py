"""What two real ranks do, for tests of two ranks: every case once, in one start-up.

    torchrun --nproc-per-node 2 two_ranks.py OUT_DIR

Each case trains three steps, saves, trains two more, and trains those two again in a new engine
that was given the saved state. The main rank writes what came out.
"""

import json
import sys
from pathlib import Path

import torch

from retfm_dist.config import PretrainConfig
from retfm_dist.errors import DataError
from retfm_dist.ranks.agreement import first_rank_where, from_main, highest
from retfm_dist.ranks.world import Ranks, ranks_from_environment
from retfm_dist.train.checkpoint import open_checkpoint, write_checkpoint
from retfm_dist.train.engine.engine import Engine, SavedState
from retfm_dist.train.engine.process_group import start_ranks, stop_ranks
from tests.fakes.training import TinyMae, run_steps, tiny_config

# ZeRO stage, precision, micro-batch of a global batch of 8 on two ranks.
CASES = [
    (0, "fp32", 4), (1, "fp32", 4), (1, "fp32", 2), (2, "fp32", 2), (3, "fp32", 2),
    (1, "bf16", 4), (1, "bf16", 2), (2, "bf16", 2), (3, "bf16", 4),
]  # fmt: skip


def run_case(out_dir: Path, config: PretrainConfig, ranks: Ranks, device: torch.device) -> None:
    model = TinyMae()
    with torch.no_grad():
        model.decoder.bias.fill_(-0.0)
    engine = Engine(config, model=model, ranks=ranks, device=device)
    first = engine.gather_weights()
    losses = run_steps(engine, config, ranks, range(3))
    weights, moments = engine.gather_weights(), engine.gather_moments()
    state = {"losses": losses, "num_updates": engine.num_updates()}
    if ranks.is_main:
        assert torch.signbit(first["decoder.bias"]).all(), "a sign of zero was lost"
        write_checkpoint(out_dir / "saved", weights=weights, moments=moments, state=state)
    torch.distributed.barrier()
    finish(engine, out_dir / "straight", config, ranks)

    saved = open_checkpoint(out_dir / "saved")
    again = Engine(
        config,
        model=TinyMae(seed=7),
        ranks=ranks,
        device=device,
        saved=SavedState(saved.weights, saved.moments, saved.state["num_updates"]),
    )
    finish(again, out_dir / "resumed", config, ranks)


def finish(engine: Engine, directory: Path, config: PretrainConfig, ranks: Ranks) -> None:
    losses = run_steps(engine, config, ranks, range(3, 5))
    weights, moments = engine.gather_weights(), engine.gather_moments()
    if ranks.is_main:
        write_checkpoint(directory, weights=weights, moments=moments, state={"losses": losses})
    engine.close()


def check_decisions(ranks: Ranks) -> dict[str, object]:
    def refuse() -> None:
        raise DataError("the main rank refuses")

    try:
        from_main(refuse, ranks=ranks)
        refused = False
    except DataError as error:
        refused = str(error) == "the main rank refuses"
    answers = [
        refused,
        from_main(lambda: {"step": 3}, ranks=ranks) == {"step": 3},
        first_rank_where(ranks.rank == 1, rank=ranks.rank) == 1,
        first_rank_where(False, rank=ranks.rank) is None,
        highest(3 - ranks.rank) == 3,
    ]
    return {"every_rank_agrees": first_rank_where(not all(answers), rank=ranks.rank) is None}


def main(out_dir: Path) -> None:
    ranks = ranks_from_environment()
    device = start_ranks(ranks)
    for stage, precision, micro in CASES:
        config = tiny_config(
            out_dir,
            engine__zero_stage=stage,
            engine__precision=precision,
            schedule__micro_batch_size=micro,
        )
        run_case(out_dir / f"{stage}-{precision}-{micro}", config, ranks, device)
    decisions = check_decisions(ranks)
    if ranks.is_main:
        (out_dir / "decisions.json").write_text(json.dumps(decisions))
    stop_ranks()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
