import json

import numpy as np
import pytest

from retfm_dist.data.augment import Augmentation
from retfm_dist.data.order import SampleOrder
from retfm_dist.data.sampling import Sampling, check_states_agree
from retfm_dist.errors import DataError

AUGMENTATION = Augmentation((0.2, 1.0), (0.75, 4 / 3), 0.5)
GLOBAL_BATCH_SIZE = 144


def sampling(*, micro_batch_size: int, world_size: int, rank: int = 0) -> Sampling:
    order = SampleOrder(num_samples=500, global_batch_size=GLOBAL_BATCH_SIZE, seed=3)
    return Sampling(order, AUGMENTATION, 224, micro_batch_size, rank, world_size)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("micro_batch_size", [1, 2, 6])
def test_ranks_and_micro_batches_make_up_the_global_batch_in_order(world_size, micro_batch_size):
    for step in (0, 9, 10, 31):
        parts = [
            sampling(micro_batch_size=micro_batch_size, world_size=world_size, rank=rank).positions(
                step
            )
            for rank in range(world_size)
        ]
        # [accumulation, ranks, micro-batch]
        together = np.stack(parts, axis=1)
        assert together.shape[0] * world_size * micro_batch_size == GLOBAL_BATCH_SIZE
        expected = SampleOrder(500, GLOBAL_BATCH_SIZE, 3).positions(step)
        np.testing.assert_array_equal(together.ravel(), expected)


def test_the_state_is_the_same_on_any_number_of_ranks_and_survives_json():
    one = sampling(micro_batch_size=6, world_size=1).state("abc")
    other = sampling(micro_batch_size=2, world_size=8, rank=5).state("abc")
    assert json.loads(json.dumps(one)) == other
    check_states_agree(json.loads(json.dumps(one)), other)


def test_the_state_names_everything_that_decides_the_pixels():
    assert sampling(micro_batch_size=6, world_size=1).state("abc") == {
        "format": 1,
        "seed": 3,
        "global_batch_size": 144,
        "dataset_fingerprint": "abc",
        "crop_scale": [0.2, 1.0],
        "crop_ratio": [0.75, 4 / 3],
        "flip_probability": 0.5,
        "image_size": 224,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 2),
        ("seed", 4),
        ("global_batch_size", 288),
        ("dataset_fingerprint", "def"),
        ("crop_scale", [0.08, 1.0]),
        ("crop_ratio", [1.0, 1.0]),
        ("flip_probability", 0.0),
        ("image_size", 448),
    ],
)
def test_any_difference_is_refused_with_both_values(name, value):
    current = sampling(micro_batch_size=6, world_size=1).state("abc")
    with pytest.raises(DataError, match="belongs to other batches") as caught:
        check_states_agree({**current, name: value}, current)
    message = str(caught.value)
    assert f"data state, {name}" in message
    assert f"got {current[name]} in this run" in message
    assert f"expected {value} as in the checkpoint" in message


def test_a_value_that_is_absent_on_either_side_is_refused():
    current = sampling(micro_batch_size=6, world_size=1).state("abc")
    shorter = {name: value for name, value in current.items() if name != "seed"}
    with pytest.raises(DataError, match="seed: .* got 3 in this run, expected nothing"):
        check_states_agree(shorter, current)
    with pytest.raises(DataError, match="lanes: .* got nothing in this run, expected 64"):
        check_states_agree({**current, "lanes": 64}, current)
