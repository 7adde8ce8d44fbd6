"""The samples of each rank, and the check of the images when a run is resumed."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retfm_dist.data.augment import Augmentation
from retfm_dist.data.order import Draws, SampleOrder
from retfm_dist.errors import DataError

STATE_FORMAT = 1
"""Version of how order and augmentation follow from seed, epoch and images."""
_EXCLUDED = "excluded_uids"
_DECODER = "decoder"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sampling:
    """The part of each global batch that falls to one rank.

    Micro-batch a of rank r is the a * world_size + r th piece of the global batch, so that
    neither the number of ranks nor the accumulation changes what the batch holds:

        micro_step        0         1
        rank           0     1   0     1
        positions     0-3   4-7 8-11 12-15       micro_batch_size 4, world_size 2, GBS 16

    Attributes:
        order: Samples of each global batch.
        augmentation: Ranges of crops and flips.
        image_size: Side of the square images made, px.
        micro_batch_size: Images per rank per forward pass.
        rank: Number of this rank.
        world_size: Number of ranks; micro_batch_size * world_size divides the global batch.
    """

    order: SampleOrder
    augmentation: Augmentation
    image_size: int
    micro_batch_size: int
    rank: int
    world_size: int

    @property
    def grad_accum_steps(self) -> int:
        """Micro-batches per rank and step."""
        return self.order.global_batch_size // (self.micro_batch_size * self.world_size)

    def draws(self, step: int) -> list[Draws]:
        """Return this rank's part of a step, one piece per micro-batch."""
        draws = self.order.draws(step)
        shape = (self.grad_accum_steps, self.world_size, self.micro_batch_size)
        positions = draws.positions.reshape(shape)[:, self.rank]
        repeats = draws.repeats.reshape(shape)[:, self.rank]
        return [Draws(*piece) for piece in zip(positions, repeats, strict=True)]


def data_state(
    fingerprint: str,
    weights: Sequence[float],
    excluded: Sequence[str] = (),
    *,
    decoder: str | None = None,
) -> dict[str, Any]:
    """Return what a resumed run must find unchanged besides its config, as JSON values.

    Order and augmentation follow from the config, which `train.experiment` compares; only the
    images and the meaning of their order are known here alone.

    Args:
        fingerprint: Names the content of the shard sets.
        weights: Share of each set; none where they are not mixed.
        excluded: Uids of images that are left out, ascending. More may be left out later, none
            may come back.
        decoder: What makes pixels of JPEGs.
    """
    state: dict[str, Any] = {"format": STATE_FORMAT, "dataset_fingerprint": fingerprint}
    if weights:
        state["weights"] = list(weights)
    if excluded:
        state[_EXCLUDED] = list(excluded)
    if decoder is not None:
        state[_DECODER] = decoder
    return state


def check_states_agree(saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Refuse to continue a run on other images; warn of another decoder.

    Args:
        saved: State found in the checkpoint.
        current: State of the loader made from the config.

    Raises:
        DataError: A value differs or is absent in the checkpoint; both are named. Or images that
            were left out come back.
    """
    _check_excluded(saved.get(_EXCLUDED, ()), current.get(_EXCLUDED, ()))
    _compare_decoders(saved.get(_DECODER), current.get(_DECODER))
    for name, now in current.items():
        if name in (_EXCLUDED, _DECODER):
            continue
        if (before := saved.get(name, "nothing")) != now:
            raise DataError(
                "the checkpoint was trained on other images",
                where=f"data state, {name}",
                got=f"{now} in this run",
                expected=f"{before} as in the checkpoint",
                hint="set data.shards to the set of the run, or start another run.dir",
            )


def _compare_decoders(before: str | None, now: str | None) -> None:
    """Warn where pixels will differ by a level or two from what an uninterrupted run would see."""
    if None not in (before, now) and before != now:
        logger.warning(
            "JPEGs were decoded by %s and are by %s now: pixels differ by a level or two, and the "
            "run will not end bit for bit as it would have there",
            before,
            now,
        )


def _check_excluded(before: Sequence[str], now: Sequence[str]) -> None:
    """Refuse to train on images again that a run was told to leave out."""
    back = sorted(set(before) - set(now))
    if back:
        raise DataError(
            "images that the run was told to leave out would come back",
            where="data.exclude_uids",
            got=f"{len(back)} of {len(before)} are not excluded now, such as {back[0]}",
            hint="give --exclude-uids a file of all of them; they are listed in state.json of the "
            f"checkpoint, data.{_EXCLUDED}",
        )
