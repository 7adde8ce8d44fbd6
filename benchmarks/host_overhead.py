"""Host overhead: what engine and step cost beside forward, backward and AdamW.

    python -m benchmarks.host_overhead [--steps N] [--rounds N] [--stages 0 1 2 3] [--json FILE]

The model has the 398 tensors of a ViT-L at a width of 32, so that hardly anything is computed and
the host is what limits, as it does on a GPU that waits for its next kernel. The limit is a bare
loop of PyTorch: forward, backward, fused AdamW. The peer is DeepSpeed as its defaults set it, in
the same ZeRO stage. All ways take turns; the median over rounds of each round's ratio is reported,
in CPU time of the process, which other processes disturb less than they do the clock.
"""

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.rows import Row, machine_name, report
from retfm_dist.config import PretrainConfig
from retfm_dist.config.schema import ModelConfig
from retfm_dist.model.mae import MaskedAutoencoder, init_weights
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.engine.library import import_deepspeed
from retfm_dist.train.engine.optimizer import parameter_groups
from retfm_dist.train.engine.process_group import start_ranks, stop_ranks
from retfm_dist.train.step import Inputs, train_step

LR = 1e-4
NARROW = ModelConfig(
    img_size=32,
    patch_size=8,
    embed_dim=32,
    depth=24,
    num_heads=2,
    decoder_embed_dim=32,
    decoder_depth=8,
    decoder_num_heads=2,
    mask_ratio=0.75,
    norm_pix_loss=True,
)

Way = Callable[[], object]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=15, help="steps of a way in a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--stages", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = start_ranks(Ranks(), timeout_s=600)
    rows = []
    for stage in arguments.stages:
        rows += measure(stage, device, steps=arguments.steps, rounds=arguments.rounds)
    stop_ranks()
    report("Host overhead on 398 tensors, one rank", rows, arguments.json)


def narrow_config(stage: int) -> PretrainConfig:
    """Return a run of the narrow model, one micro-batch of two images a step."""
    return PretrainConfig.model_validate(
        {
            "run": {"dir": "unused", "seed": 0, "init_from": None},
            "data": {"shards": "unused", "crop_scale": [0.2, 1.0], "decode_threads": 1},
            "model": NARROW.model_dump(),
            "optimizer": {"base_lr": LR, "weight_decay": 0.05},
            "schedule": {
                "duration": "1 epochs",
                "warmup": "0 steps",
                "global_batch_size": 2,
                "micro_batch_size": 2,
            },
            "engine": {"precision": "fp32", "zero_stage": stage},
            "checkpoint": {"every": "1 epochs"},
            "log": {"every": "1 steps", "reconstructions_every": "0 steps"},
        }
    )


def narrow_model() -> MaskedAutoencoder:
    """Return the narrow model with its first weights."""
    model = MaskedAutoencoder(NARROW)
    init_weights(model, seed=0)
    return model


def draw_inputs(device: torch.device) -> Inputs:
    """Return one micro-batch of random pixels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=generator)
    noise = torch.rand(2, NARROW.num_patches, generator=generator)
    return Inputs(images.to(device), noise.to(device), torch.arange(2))


def bare_way(inputs: Inputs, device: torch.device) -> Way:
    """Return a step of plain PyTorch."""
    model = narrow_model().to(device)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.05), lr=LR, fused=True)

    def step() -> None:
        model(inputs.images, inputs.noise).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def our_way(engine: Engine, inputs: Inputs) -> Way:
    """Return a step of ours: gate, update and result included."""
    return lambda: train_step(engine, [inputs], grad_accum_steps=1, lr=LR, limit=1e30)


def default_way(stage: int, inputs: Inputs) -> Way:
    """Return a step of DeepSpeed with its own defaults."""
    model = narrow_model()
    with contextlib.redirect_stdout(io.StringIO()):
        engine = import_deepspeed().initialize(
            model=model,
            optimizer=torch.optim.AdamW(parameter_groups(model, 0.05), lr=LR),
            config={"train_batch_size": 2, "zero_optimization": {"stage": stage}},
            dist_init_required=False,
        )[0]

    def step() -> None:
        engine.backward(engine(inputs.images, inputs.noise).loss)
        engine.step()

    return step


def measure(stage: int, device: torch.device, *, steps: int, rounds: int) -> list[Row]:
    """Measure a ZeRO stage, interleaved with its peer and its limit."""
    config, inputs = narrow_config(stage), draw_inputs(device)
    engine = Engine(config, model=narrow_model(), ranks=Ranks(), device=device)
    ways = {
        "bare": bare_way(inputs, device),
        "ours": our_way(engine, inputs),
        "deepspeed": default_way(stage, inputs),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(-1, rounds):  # the first warms up
        for name, way in ways.items():
            begun_at = time.process_time()
            for _ in range(steps):
                way()
            if round_ >= 0:
                times[name].append((time.process_time() - begun_at) / steps)
    engine.close()
    return rows_of(stage, times)


def rows_of(stage: int, times: dict[str, list[float]]) -> list[Row]:
    """Return the rows of a stage, steps per second."""

    def ratio(name: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(times[other], times[name], strict=True))

    rates = {name: 1 / statistics.median(values) for name, values in times.items()}
    machine = machine_name()
    return [
        Row(
            f"stage {stage}: {1 / ratio('ours', 'bare'):.2f}x the time of the bare loop",
            rates["ours"], "steps/s", "DeepSpeed's defaults",
            ratio("ours", "deepspeed"), rates["bare"], machine,
        ),
        Row(
            f"stage {stage}: DeepSpeed's defaults, {1 / ratio('deepspeed', 'bare'):.2f}x",
            rates["deepspeed"], "steps/s", "", 1.0, rates["bare"], machine,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
