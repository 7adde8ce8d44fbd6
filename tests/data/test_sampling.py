import numpy as np
import pytest

from retfm_dist.data.augment import Augmentation
from retfm_dist.data.lanes import Shuffle
from retfm_dist.data.order import SampleOrder
from retfm_dist.data.sampling import Sampling, check_states_agree, data_state
from retfm_dist.errors import DataError

AUGMENTATION = Augmentation((0.2, 1.0), (0.75, 4 / 3), 0.5)
GLOBAL_BATCH_SIZE = 144


def sampling(*, micro_batch_size: int, world_size: int, rank: int = 0) -> Sampling:
    order = SampleOrder([np.array([0, 500])], GLOBAL_BATCH_SIZE, Shuffle(3))
    return Sampling(order, AUGMENTATION, 224, micro_batch_size, rank, world_size)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("micro_batch_size", [1, 2, 6])
def test_ranks_and_micro_batches_make_up_the_global_batch_in_order(world_size, micro_batch_size):
    for step in (0, 9, 10, 31):
        parts = []
        for rank in range(world_size):
            own = sampling(micro_batch_size=micro_batch_size, world_size=world_size, rank=rank)
            parts.append([draws.positions for draws in own.draws(step)])
        # [accumulation, ranks, micro-batch]
        together = np.stack(parts, axis=1)
        assert together.shape[0] * world_size * micro_batch_size == GLOBAL_BATCH_SIZE
        whole = sampling(micro_batch_size=GLOBAL_BATCH_SIZE, world_size=1)
        (expected,) = [draws.positions for draws in whole.draws(step)]
        np.testing.assert_array_equal(together.ravel(), expected)


def test_the_state_is_what_the_config_does_not_say():
    assert data_state("abc", []) == {"format": 1, "dataset_fingerprint": "abc"}
    assert data_state("abc", [1, 2])["weights"] == [1, 2]


@pytest.mark.parametrize(("name", "value"), [("format", 2), ("dataset_fingerprint", "def")])
def test_any_difference_is_refused_with_both_values(name, value):
    current = data_state("abc", [])
    with pytest.raises(DataError, match="trained on other images") as caught:
        check_states_agree({**current, name: value}, current)
    message = str(caught.value)
    assert f"data state, {name}" in message
    assert f"got {current[name]} in this run" in message
    assert f"expected {value} as in the checkpoint" in message


def test_a_value_that_the_checkpoint_lacks_is_refused():
    with pytest.raises(DataError, match="dataset_fingerprint: .* got abc .* expected nothing"):
        check_states_agree({"format": 1}, data_state("abc", []))


def test_checkpoints_of_earlier_versions_state_more_and_are_taken():
    """What they state besides follows from the config, which is compared elsewhere."""
    check_states_agree(
        {**data_state("abc", []), "seed": 3, "image_size": 224}, data_state("abc", [])
    )


def test_another_decoder_is_warned_of_and_taken(caplog):
    saved = data_state("abc", [], decoder="CUDA")
    check_states_agree(saved, data_state("abc", [], decoder="CUDA"))
    check_states_agree(data_state("abc", []), saved)  # of a release that did not say
    assert not caplog.messages
    check_states_agree(saved, data_state("abc", [], decoder="the JPEG engines of the GPU"))
    assert "decoded by CUDA and are by the JPEG engines of the GPU now" in caplog.text


def test_images_that_were_left_out_may_become_more_and_may_not_come_back():
    saved = data_state("abc", [], ["0a", "0b"])
    assert saved["excluded_uids"] == ["0a", "0b"]
    check_states_agree(data_state("abc", []), saved)
    check_states_agree(saved, data_state("abc", [], ["0a", "0b", "0c"]))
    for now in ((), ("0b",)):
        with pytest.raises(
            DataError,
            match=r"data.exclude_uids: images .* would come back; got .* of 2 .* such as 0a; .*state.json",
        ):
            check_states_agree(saved, data_state("abc", [], now))
