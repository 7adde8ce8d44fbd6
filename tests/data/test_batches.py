import dataclasses

import numpy as np
import pytest

from retfm_dist.data.augment import Augmentation
from retfm_dist.data.batches import BatchMaker
from retfm_dist.data.lanes import Shuffle
from retfm_dist.data.order import Draws, SampleOrder
from retfm_dist.data.reader import ShardReader
from retfm_dist.data.sampling import Sampling
from retfm_dist.data.shard_set import open_shard_set
from retfm_dist.errors import DataError

NOBODY = np.empty(0, dtype=np.uint64)


@pytest.fixture
def make_maker(shard_dir):
    opened = []

    def make(excluded=NOBODY):
        reader = ShardReader([open_shard_set(shard_dir)], num_threads=2)
        order = SampleOrder([np.array([0, 37])], 8, Shuffle(7))
        sampling = Sampling(order, Augmentation((0.2, 1.0), (0.75, 4 / 3), 0.5), 32, 4, 0, 1)
        opened.append(BatchMaker(reader, sampling, excluded=excluded))
        return opened[-1]

    yield make
    for maker in opened:
        maker.close()


def draws(*positions, repeats=None):
    return Draws(np.array(positions), np.array(repeats or [0] * len(positions)))


def test_what_is_sound_stands_at_its_own_place(make_maker, jpegs):
    batch = make_maker().make(5, 1, draws(3, 30))
    assert (batch.step, batch.micro_step, batch.epoch, batch.replaced) == (5, 1, 1, ())
    assert [jpeg.tobytes() for jpeg in batch.jpegs] == [jpegs[3], jpegs[30]]
    assert np.array_equal(batch.keys, batch.uids)


def test_repeats_change_boxes_and_flips_and_nothing_else(make_maker):
    maker = make_maker()
    first, again = (maker.make(0, 0, draws(3, 4, repeats=[r, 0])) for r in (0, 1))
    assert np.array_equal(first.uids, again.uids)
    assert first.boxes[0].tolist() != again.boxes[0].tolist()
    assert first.boxes[1].tolist() == again.boxes[1].tolist()


def test_a_substitute_depends_on_seed_epoch_and_sample_alone(make_maker):
    (uid,) = make_maker().make(0, 0, draws(12)).uids
    maker = make_maker(excluded=np.array([uid], dtype=np.uint64))
    alone = maker.make(0, 0, draws(12)).uids[0]
    assert alone != uid
    assert maker.make(3, 1, draws(30, 12, 2)).uids[1] == alone  # the same epoch
    others = {int(maker.make(step, 0, draws(12)).uids[0]) for step in range(4, 80, 4)}
    assert len(others) > 5  # other epochs


def test_substitutes_come_from_the_same_tar_while_it_has_some(make_maker, shard_dir):
    everything = make_maker().make(0, 0, draws(*range(37))).uids
    maker = make_maker(excluded=np.sort(everything[10:14]))
    found = maker.make(0, 0, draws(10, 11, 12, 13)).uids
    assert set(found.tolist()) <= set(everything[14:25].tolist())
    maker = make_maker(excluded=np.sort(everything[10:25]))  # the whole tar
    found = maker.make(0, 0, draws(10, 11, 12, 13)).uids
    assert not set(found.tolist()) & set(everything[10:25].tolist())


def test_undecodable_samples_are_replaced_again_and_again(make_maker):
    maker = make_maker()
    batch = maker.make(0, 0, draws(3, 4, 5))
    uids = [batch.uids.copy()]
    for _ in range(3):
        batch = maker.replace(batch, {1: "no Huffman table"})
        uids.append(batch.uids.copy())
        assert len(batch.replaced) == 1
    assert len({int(of[1]) for of in uids}) > 2
    assert all(np.array_equal(of[[0, 2]], uids[0][[0, 2]]) for of in uids)
    (told,) = batch.replaced
    assert told.reason == "cannot be decoded: no Huffman table"
    assert told.uid == f"{uids[0][1]:016x}"
    assert told.substitute == f"{batch.uids[1]:016x}"
    assert dataclasses.asdict(told)["row"] == 4


def test_when_everything_is_left_out_there_is_one_error(make_maker):
    everything = make_maker().make(0, 0, draws(*range(37))).uids
    maker = make_maker(excluded=np.sort(everything))
    with pytest.raises(DataError, match=r"step 0, .*000000.tar: nothing can be read .* excluded"):
        maker.make(0, 0, draws(3))
