"""What two real ranks do, for tests of two ranks: every case once, in one start-up.

    torchrun --nproc-per-node 2 two_ranks.py OUT_DIR

Each case trains three steps, saves, trains two more, and trains those two again in a new engine
that was given the saved state. The main rank writes what came out.
"""

import itertools
import json
import math
import os
import sys
import time
from pathlib import Path

import torch

from retfm_dist.config import PretrainConfig
from retfm_dist.errors import CheckpointError, DataError, TrainError
from retfm_dist.ranks.agreement import from_each, from_main, gather_each, highest
from retfm_dist.ranks.world import Ranks, ranks_from_environment
from retfm_dist.train.checkpoint import saver as saver_module
from retfm_dist.train.checkpoint.folder import Retention, find_checkpoint, list_checkpoints
from retfm_dist.train.checkpoint.layout import AVERAGE, Stretch
from retfm_dist.train.checkpoint.read import open_checkpoint
from retfm_dist.train.checkpoint.saver import Saver
from retfm_dist.train.engine.engine import Engine, SavedState
from retfm_dist.train.engine.process_group import start_ranks, stop_ranks
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.same_start import check_same_start
from retfm_dist.train.schedule import plan_run
from retfm_dist.train.step import Inputs, StepResult, train_step
from tests.fakes.checkpoints import state_of, weights_of, write_checkpoint
from tests.fakes.float64_training import BATCH, LR, draw, first_model, oracle
from tests.fakes.training import (
    OFFLOADED,
    ON_DISK,
    FakeLoader,
    TinyMae,
    TinyOutput,
    batches_of,
    run_steps,
    sharding,
    tiny_config,
)

# ZeRO stage, precision, micro-batch of a global batch of 8 on two ranks.
CASES = [
    (0, "fp32", 4), (1, "fp32", 4), (1, "fp32", 2), (2, "fp32", 2), (3, "fp32", 2),
    (1, "bf16", 4), (1, "bf16", 2), (2, "bf16", 2), (3, "bf16", 4),
    (OFFLOADED, "fp32", 2), (OFFLOADED, "bf16", 4), (ON_DISK, "fp32", 2),
]  # fmt: skip


def run_case(out_dir: Path, config: PretrainConfig, ranks: Ranks, device: torch.device) -> None:
    model = TinyMae()
    with torch.no_grad():
        model.decoder.bias.fill_(-0.0)
    engine = Engine(config, model=model, ranks=ranks, device=device)
    first = weights_of(engine)
    losses = run_steps(engine, config, ranks, range(3))
    assert torch.signbit(first["decoder.bias"]).all(), "a sign of zero was lost"
    save(engine, out_dir / "saved", losses, ranks)
    finish(engine, out_dir / "straight", config, ranks)

    saved = open_checkpoint(out_dir / "saved")
    again = Engine(
        config,
        model=TinyMae(seed=7),
        ranks=ranks,
        device=device,
        saved=SavedState(saved.weights, saved.moments, saved.state["num_updates"], saved.average),
    )
    finish(again, out_dir / "resumed", config, ranks)


def finish(engine: Engine, directory: Path, config: PretrainConfig, ranks: Ranks) -> None:
    losses = run_steps(engine, config, ranks, range(3, 5))
    save(engine, directory, losses, ranks)
    engine.close()


def save(engine: Engine, directory: Path, losses: list[float], ranks: Ranks) -> None:
    whole = state_of(engine)
    state = {"losses": losses, "num_updates": whole.num_updates}
    if ranks.is_main:
        moments = {**whole.moments, AVERAGE: whole.average}
        write_checkpoint(directory, weights=whole.weights, moments=moments, state=state)
    torch.distributed.barrier()


def check_parity(out_dir: Path, ranks: Ranks, device: torch.device) -> dict[str, object]:
    """Train the masked autoencoder on half of each batch; return the largest distance from float64.

    Of the losses, relative, and of the first step's gradients, relative to each tensor's largest.
    """
    found = {}
    expected, gradients = oracle()
    for stage, micro in itertools.product((0, 1, 2, 3, OFFLOADED), (2, 4)):
        config = tiny_config(
            out_dir,
            **sharding(stage),
            schedule__global_batch_size=BATCH,
            schedule__micro_batch_size=micro,
        )
        engine = Engine(config, model=first_model(), ranks=ranks, device=device)
        losses = []
        for step in range(5):
            images, noise = (part.chunk(2)[ranks.rank] for part in draw(step))
            pairs = zip(images.split(micro), noise.split(micro), strict=True)
            inputs = [Inputs(*pair, torch.zeros(micro)) for pair in pairs]
            result = train_step(engine, inputs, grad_accum_steps=len(inputs), lr=LR, limit=1e9)
            losses.append(result.losses.mean().item())
            if step == 0:
                moments = state_of(engine).moments["exp_avg"]  # a tenth of the gradient
        engine.close()
        found[f"{stage} {micro}"] = [
            max(abs(a / b - 1) for a, b in zip(losses, expected, strict=False)),
            max(
                ((10 * moments[n].double() - g).abs().max() / g.abs().max()).item()
                for n, g in gradients.items()
            ),
        ]
    return {"parity": found}


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
        gather_each(torch.tensor([float(ranks.rank), 7.0])).tolist() == [[0, 7], [1, 7]],
        highest([3 - ranks.rank, ranks.rank]) == [3, 1],
    ]
    return {"every_rank_agrees": all(from_each(all(answers)))}


class Poisoned(TinyMae):
    """A model whose loss, or the gradient of it, is not finite where it is told to."""

    factor = 1.0
    gradient_factor = 1.0

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> TinyOutput:
        output = super().forward(images, noise)
        if self.gradient_factor != 1.0:
            output.pred.register_hook(lambda gradient: gradient * self.gradient_factor)
        return output._replace(loss=output.loss * self.factor)


def check_bad_steps(out_dir: Path, ranks: Ranks, device: torch.device) -> dict[str, object]:
    """Make a step that rank 1 alone spoils, in every stage, and a sound one after it."""
    found = {}
    for stage, kind in itertools.product((0, 1, 2, 3, OFFLOADED), ("loss", "gradient", "spike")):
        config = tiny_config(out_dir, **sharding(stage))
        model = Poisoned()
        engine = Engine(config, model=model, ranks=ranks, device=device)

        def make(step: int, engine: Engine = engine, config: PretrainConfig = config) -> StepResult:
            inputs = [Inputs(i, n, i[:, 0, 0, 0]) for i, n in batches_of(config, ranks, step)]
            return train_step(engine, inputs, grad_accum_steps=len(inputs), lr=0.1, limit=100.0)

        make(0)
        before = weights_of(engine)
        if ranks.rank == 1:
            model.factor = {"loss": math.nan, "gradient": 1.0, "spike": 1e4}[kind]
            model.gradient_factor = math.inf if kind == "gradient" else 1.0
        bad = make(1)
        after = weights_of(engine)
        model.factor = model.gradient_factor = 1.0
        sound = make(2)
        found[f"{stage} {kind}"] = [
            bad.is_updated.item(),
            all(torch.equal(before[name], after[name]) for name in before),
            [math.isfinite(loss) for loss in bad.losses.tolist()],
            bad.is_finite.tolist(),
            sound.is_updated.item(),
            all(torch.isfinite(tensor).all().item() for tensor in weights_of(engine).values()),
        ]
        engine.close()
    return {"bad_steps": from_each(found)}


def check_overlap(out_dir: Path, ranks: Ranks, device: torch.device) -> dict[str, object]:
    """Return whether exchanging gradients early changes a bit of losses or weights."""
    found = []
    for overlap in (False, True):
        config = tiny_config(out_dir, engine__overlap_comm=overlap, engine__reduce_bucket_size=100)
        engine = Engine(config, model=TinyMae(), ranks=ranks, device=device)
        losses = run_steps(engine, config, ranks, range(3))
        found.append((losses, {name: w.tolist() for name, w in weights_of(engine).items()}))
        engine.close()
    return {"overlap_is_same": all(from_each(found[0] == found[1]))}


def check_other_images(out_dir: Path, ranks: Ranks) -> dict[str, object]:
    """Return what each rank says when rank 1 has another shard set under the same name."""
    config = tiny_config(out_dir)
    loader = FakeLoader(config, ranks)
    plan = plan_run(config, steps_per_epoch=loader.steps_per_epoch)
    check_same_start(config, loader, plan)
    if ranks.rank == 1:
        loader.fingerprint = "a stale copy"
    try:
        check_same_start(config, loader, plan)
        message = "none"
    except TrainError as error:
        message = str(error)
    return {"other_images": from_each(message)}


def check_timeouts(out_dir: Path, ranks: Ranks, device: torch.device) -> dict[str, object]:
    """Return the timeouts of all groups that an engine leaves, s."""
    config = tiny_config(out_dir, run__collective_timeout_s=77)
    engine = Engine(config, model=TinyMae(), ranks=ranks, device=device)
    groups = list(torch.distributed.distributed_c10d._world.pg_map)
    found = [g._get_backend(device).options._timeout.total_seconds() for g in groups]
    engine.close()
    return {"timeouts": found}


def check_saving(out_dir: Path, ranks: Ranks) -> dict[str, object]:
    """Save with a slow rank, and with one whose disk is full."""
    write = saver_module.write_part
    own = torch.full((3,), float(ranks.rank))
    run_dir = RunDir(out_dir / "saving")

    def save(step: int) -> float:
        state = {"step": step, "shapes": {"a": [6]}}
        return saver.begin(step, [(Stretch("weights", "a", 3 * ranks.rank), own)], state)

    def write_slowly(*args):
        time.sleep(1.0)
        return write(*args)

    def full(*args):
        raise OSError(28, "No space left on device")

    saver = Saver(
        run_dir,
        num_values=3,
        retention=Retention(2, 0),
        ranks=ranks,
        device=torch.device("cpu"),
    )
    saver_module.write_part = write_slowly if ranks.rank == 1 else write
    stall_s = save(2)
    own.fill_(9)
    none_yet = list_checkpoints(run_dir.path) == []
    torch.distributed.barrier()
    saver.finish()
    whole = open_checkpoint(find_checkpoint(run_dir.path)).weights["a"].tolist()
    saver_module.write_part = full if ranks.rank == 1 else write
    save(4)
    try:
        saver.finish()
        failure = "none"
    except CheckpointError as error:
        failure = str(error)
    saver.close()
    found = {
        "stall_s": stall_s,
        "none_yet": none_yet,
        "whole": whole,
        "failure": failure,
        "left": sorted(path.name for path in (run_dir.path / "checkpoints").iterdir()),
    }
    return {"saving": from_each(found)}


def main(out_dir: Path) -> None:
    ranks = ranks_from_environment()
    device = start_ranks(ranks, timeout_s=300)
    for stage, precision, micro in CASES:
        config = tiny_config(
            out_dir,
            **sharding(stage),
            engine__precision=precision,
            schedule__micro_batch_size=micro,
            optimizer__ema_decay=0.5,
        )
        run_case(out_dir / f"{stage}-{precision}-{micro}", config, ranks, device)
    decisions = check_decisions(ranks) | check_saving(out_dir, ranks)
    decisions |= check_timeouts(out_dir, ranks, device)
    decisions |= check_other_images(out_dir, ranks) | check_overlap(out_dir, ranks, device)
    decisions |= check_parity(out_dir, ranks, device)
    decisions |= check_bad_steps(out_dir, ranks, device)
    if ranks.is_main:
        (out_dir / "decisions.json").write_text(json.dumps(decisions))
    stop_ranks()
    # Shutting down the interpreter sometimes aborts ("terminate called without an active
    # exception") after so many engines; which thread causes it is not known.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
