import json
import sys
import threading
from collections import defaultdict

import numpy as np
import pytest
import torch

from retfm_dist.data.decode import EncodedBatch
from retfm_dist.data.loader import Loader, build_loader, resolve_backend
from retfm_dist.data.timings import Timings
from retfm_dist.data.transfer import Transfer
from retfm_dist.errors import DataError, ShardError
from retfm_dist.ranks.world import Ranks
from retfm_dist.shard.index import read_sample_index, write_sample_index
from retfm_dist.shard.manifest import read_manifest

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_thread_is_left_behind():
    yield
    assert [thread.name for thread in threading.enumerate() if "retfm" in thread.name] == []


@pytest.fixture
def open_loader(make_config):
    """Builds loaders and closes them; `rank` of `world_size` and config overrides."""
    opened = []

    def build(*overrides: str, rank: int = 0, world_size: int = 1) -> Loader:
        ranks = Ranks(rank=rank, local_rank=rank, world_size=world_size)
        opened.append(build_loader(make_config(*overrides), ranks=ranks, device=CPU))
        return opened[-1]

    yield build
    for loader in opened:
        loader.close()


def global_batches(build, steps, *overrides, world_size, starts=None):
    """Join all ranks' micro-batches: step -> (uids, images) in the order of the global batch."""
    pieces = defaultdict(dict)
    for rank in range(world_size):
        loader = build(*overrides, rank=rank, world_size=world_size)
        for start, end in starts or [steps]:
            for batch in loader.batches(start, end):
                pieces[batch.step][batch.micro_step, rank] = batch
        loader.close()
    joined = {}
    for step, parts in pieces.items():
        ordered = [parts[place] for place in sorted(parts)]
        joined[step] = (
            torch.cat([batch.uids for batch in ordered]),
            torch.cat([batch.images for batch in ordered]),
        )
    return joined


def assert_same(one, other):
    assert one.keys() == other.keys()
    for step in one:
        assert torch.equal(one[step][0], other[step][0])
        assert torch.equal(one[step][1], other[step][1])


@pytest.fixture
def reference(open_loader):
    """Global batches 0..5, over the end of the first epoch (4 steps), made by one rank."""
    return global_batches(open_loader, (0, 6), world_size=1)


@pytest.mark.parametrize(
    ("world_size", "micro_batch_size", "decode_threads", "prefetch_batches"),
    [
        (1, 8, 2, 1),
        (1, 1, 1, 16),
        (2, 4, 1, 3),
        (2, 1, 2, 2),
        (4, 2, 1, 3),
        (4, 1, 3, 1),
        (8, 1, 1, 2),
    ],
)
def test_pixels_of_a_global_batch_are_the_same_however_it_is_shared_out(
    open_loader, reference, world_size, micro_batch_size, decode_threads, prefetch_batches
):
    overrides = [
        f"schedule.micro_batch_size={micro_batch_size}",
        f"data.decode_threads={decode_threads}",
        f"data.prefetch_batches={prefetch_batches}",
    ]
    joined = global_batches(open_loader, (0, 6), *overrides, world_size=world_size)
    assert_same(joined, reference)


@pytest.mark.parametrize("start", [1, 3, 4, 5])
def test_a_run_resumed_on_another_number_of_ranks_sees_the_same_batches(
    open_loader, reference, start
):
    before = global_batches(open_loader, (0, start), world_size=2)
    after = global_batches(open_loader, (start, 6), world_size=4)
    assert_same({**before, **after}, reference)


def test_one_loader_may_be_asked_for_one_range_after_the_other(open_loader, reference):
    joined = global_batches(open_loader, None, world_size=1, starts=[(4, 6), (0, 2), (2, 4)])
    assert_same({step: joined[step] for step in sorted(joined)}, reference)


class RecordingDecoder:
    """Keeps what it is asked to decode, and draws nothing."""

    def __init__(self) -> None:
        self.batches: list[EncodedBatch] = []

    def decode(self, batches, replace):
        for batch in batches:
            self.batches.append(batch)
            yield batch, torch.zeros(len(batch.jpegs), 3, 1, 1, dtype=torch.uint8)

    def close(self) -> None:
        pass


def planned(open_loader, monkeypatch, steps, *overrides, world_size):
    """Uids, boxes and flips of global batches: step -> arrays in the order of the batch."""
    pieces = defaultdict(dict)
    for rank in range(world_size):
        recording = RecordingDecoder()
        monkeypatch.setattr(
            "retfm_dist.data.pipeline.build_decoder",
            lambda *_, recording=recording, **__: recording,
        )
        loader = open_loader(*overrides, rank=rank, world_size=world_size)
        list(loader.batches(*steps))
        loader.close()
        for batch in recording.batches:
            pieces[batch.step][batch.micro_step, rank] = batch
    return {
        step: [
            np.concatenate([getattr(parts[place], name) for place in sorted(parts)]).tolist()
            for name in ("uids", "boxes", "flips")
        ]
        for step, parts in pieces.items()
    }


def test_uids_boxes_and_flips_are_the_same_on_any_number_of_ranks(open_loader, monkeypatch):
    batch_size = "schedule.global_batch_size=24"
    expected = planned(open_loader, monkeypatch, (0, 3), batch_size, world_size=1)
    assert {tuple(flips) for _, _, flips in expected.values()} != {(False,) * 24}
    for world_size in (2, 3, 4, 6, 8, 12):
        for micro_batch_size in {24 // world_size, 1}:
            overrides = [batch_size, f"schedule.micro_batch_size={micro_batch_size}"]
            shared = planned(open_loader, monkeypatch, (0, 3), *overrides, world_size=world_size)
            assert shared == expected


def test_an_epoch_repeats_no_sample_and_the_next_one_crops_anew(open_loader, monkeypatch):
    epochs = [planned(open_loader, monkeypatch, steps, world_size=1) for steps in ((0, 4), (4, 8))]
    boxes = []
    for epoch in epochs:
        uids = [uid for step in epoch.values() for uid in step[0]]
        assert len(set(uids)) == len(uids) == 32
        drawn = [tuple(box) for step in epoch.values() for box in step[1]]
        boxes.append(dict(zip(uids, drawn, strict=True)))
    both = boxes[0].keys() & boxes[1].keys()
    assert sum(boxes[0][uid] != boxes[1][uid] for uid in both) > 0.9 * len(both)


def test_batches_come_in_order_with_their_numbers(open_loader):
    loader = open_loader()
    assert loader.steps_per_epoch == 4
    numbers = [(b.step, b.micro_step, b.epoch) for b in loader.batches(3, 5)]
    assert numbers == [(3, a, 0) for a in range(4)] + [(4, a, 1) for a in range(4)]
    assert list(loader.batches(5, 5)) == []


def test_batches_have_the_promised_form(open_loader, shard_dir):
    (batch, *_) = open_loader().batches(0, 1)
    assert batch.images.shape == (2, 3, 32, 32)
    assert batch.images.dtype == torch.uint8
    assert batch.uids.dtype == torch.int64
    stored = np.concatenate(
        [read_sample_index(path)["uid"] for path in sorted(shard_dir.glob("*.samples"))]
    )
    assert set(batch.uids.numpy().view(np.uint64)) <= set(stored)
    # Content hashes fill 64 bits: half of them are negative as int64.
    assert (stored >= 2**63).any()


def test_stopping_early_ends_the_threads_and_a_new_range_can_start(open_loader, reference):
    loader = open_loader()
    batches = loader.batches(0, 6)
    next(batches)
    batches.close()
    assert [
        t.name for t in threading.enumerate() if t.name in ("retfm-reader", "retfm-decoder")
    ] == []
    again = list(loader.batches(5, 6))
    assert torch.equal(torch.cat([batch.images for batch in again]), reference[5][1])


def test_two_ranges_at_once_are_refused(open_loader):
    loader = open_loader()
    first = loader.batches(0, 6)
    next(first)
    with pytest.raises(AssertionError, match="an earlier iteration is still running"):
        next(loader.batches(0, 1))
    first.close()


def test_closing_in_the_middle_is_no_silent_end(open_loader):
    loader = open_loader()
    batches = loader.batches(0, 6)
    next(batches)
    loader.close()
    loader.close()
    with pytest.raises(DataError, match="the loader was closed during an iteration"):
        list(batches)
    with pytest.raises(DataError, match="step 2: the loader is closed"):
        next(loader.batches(2, 3))


def damage(shard_dir, number, row):
    record = read_sample_index(shard_dir / f"{number:06d}.samples")[row]
    tar = shard_dir / f"{number:06d}.tar"
    content = bytearray(tar.read_bytes())
    content[int(record["offset"]) + 200] ^= 1
    tar.write_bytes(content)


def uids_of(shard_dir):
    """Uid of each sample as text, in the order of the set."""
    paths = sorted(shard_dir.glob("*.samples"))
    return [f"{uid:016x}" for path in paths for uid in read_sample_index(path)["uid"]]


@pytest.fixture
def troubled(request, shard_dir, tmp_path, pack_shards, jpegs):
    """A set in which not everything is well, and the overrides that go with it."""
    kind = request.param
    overrides = []
    if "damaged" in kind:
        damage(shard_dir, 1, 7)
        damage(shard_dir, 0, 2)
        tar = shard_dir / "000002.tar"
        tar.write_bytes(
            tar.read_bytes()[: int(read_sample_index(shard_dir / "000002.samples")[9]["offset"])]
        )
        records = read_sample_index(shard_dir / "000002.samples").copy()
        records["height"][3] = 9000  # its boxes lie outside the image: DALI refuses it
        write_sample_index(shard_dir / "000002.samples", records)
    if "excluded" in kind:
        (tmp_path / "uids.txt").write_text("\n".join(uids_of(shard_dir)[5:11]) + "\n")
        overrides.append(f"data.exclude_uids={tmp_path / 'uids.txt'}")
    if "mixed" in kind:
        other = pack_shards(tmp_path / "other", [jpegs[3:7], jpegs[8:11]])
        overrides.append(
            f"data.shards=[{{path: {shard_dir}, weight: 1}}, {{path: {other}, weight: 2}}]"
        )
    if "lanes" in kind:
        overrides += ["data.lanes=2", "data.window=3"]
    return overrides


KINDS = ["plain", "damaged", "excluded", "mixed", "lanes", "damaged excluded mixed lanes"]


@pytest.mark.parametrize("troubled", KINDS, indirect=True)
def test_batches_are_a_function_of_the_step_whatever_is_wrong_with_the_set(open_loader, troubled):
    overrides = ["schedule.global_batch_size=24", *troubled]
    expected = global_batches(
        open_loader, (0, 4), *overrides, "schedule.micro_batch_size=24", world_size=1
    )
    for world_size, micro_batch_size, threads in (
        (2, 3, 2),
        (3, 8, 1),
        (4, 2, 3),
        (6, 1, 1),
        (8, 3, 2),
    ):
        shared = [
            *overrides,
            f"schedule.micro_batch_size={micro_batch_size}",
            f"data.decode_threads={threads}",
        ]
        assert_same(global_batches(open_loader, (0, 4), *shared, world_size=world_size), expected)
    before = global_batches(open_loader, (0, 2), *overrides, world_size=3)
    after = global_batches(open_loader, (2, 4), *overrides, world_size=2)
    assert_same({**before, **after}, expected)


@pytest.mark.parametrize("troubled", ["damaged"], indirect=True)
@pytest.mark.parametrize("prefetch_batches", [1, 16])
def test_what_cannot_be_used_is_replaced_and_told(
    open_loader, shard_dir, troubled, prefetch_batches
):
    uids = uids_of(shard_dir)
    bad = {uids[place] for place in (2, 17, 28, 34, 35, 36)}
    loader = open_loader(f"data.prefetch_batches={prefetch_batches}")
    batches = list(loader.batches(0, 8))
    trained = [f"{uid:016x}" for batch in batches for uid in batch.uids.numpy().view(np.uint64)]
    assert not bad & set(trained)
    told = [item for batch in batches for item in batch.replaced]
    assert {item.uid for item in told} == bad
    reasons = {(item.shard[-10:], item.row): item.reason for item in told}
    assert set(reasons) == {("000000.tar", 2), ("000001.tar", 7)} | {
        ("000002.tar", row) for row in (3, 9, 10, 11)
    }
    assert reasons["000001.tar", 7].startswith("damaged: crc32 ")
    assert reasons["000002.tar", 3].startswith("cannot be decoded: The")
    assert reasons["000002.tar", 10].startswith("the tar is cut short: 0 of ")
    for item in told:
        assert item.substitute in trained


def test_all_others_keep_their_places_when_some_are_left_out(open_loader, shard_dir, tmp_path):
    whole = global_batches(open_loader, (0, 8), world_size=1)
    left_out = uids_of(shard_dir)[4:9]
    (tmp_path / "uids.txt").write_text("# blurred\n" + "\n".join(left_out))
    override = f"data.exclude_uids={tmp_path / 'uids.txt'}"
    masked = global_batches(open_loader, (0, 8), override, world_size=1)
    out = torch.tensor(np.array([int(uid, 16) for uid in left_out], np.uint64).view(np.int64))
    num_replaced = 0
    for step, (uids, images) in whole.items():
        is_out = torch.isin(uids, out)
        num_replaced += int(is_out.sum())
        assert torch.equal(masked[step][0][~is_out], uids[~is_out])
        assert torch.equal(masked[step][1][~is_out], images[~is_out])
        assert not torch.isin(masked[step][0], out).any()
    assert num_replaced >= 5
    state = open_loader(override).state()
    assert state["decoder"] == "the CPU"
    assert state["excluded_uids"] == sorted(left_out)
    open_loader(override).check_state(open_loader().state())
    with pytest.raises(DataError, match="told to leave out would come back; got 5 of 5"):
        open_loader().check_state(state)
    assert all(not batch.replaced for batch in open_loader(override).batches(0, 8))


def test_a_substitute_is_cropped_otherwise_than_at_its_own_place(open_loader, shard_dir):
    damage(shard_dir, 1, 7)
    batches = [batch for batch in open_loader().batches(0, 40) if batch.replaced]
    for batch in batches:
        differ = batch.keys != batch.uids
        assert int(differ.sum()) == len(batch.replaced) == 1
        assert f"{batch.keys[differ].numpy().view(np.uint64)[0]:016x}" == batch.replaced[0].uid
    assert len(batches) > 5


def test_what_is_seen_again_in_an_epoch_is_cropped_anew(
    open_loader, shard_dir, tmp_path, pack_shards, jpegs
):
    small = pack_shards(tmp_path / "small", [jpegs[:2]])
    mix = f"data.shards=[{{path: {shard_dir}, weight: 1}}, {{path: {small}, weight: 3}}]"
    batches = list(open_loader(mix).batches(0, 4))
    keys = torch.cat([batch.keys for batch in batches])
    uids = torch.cat([batch.uids for batch in batches])
    assert len(uids.unique()) < 20
    # Two images of the small set are in the large one too, under the same keys.
    assert len(keys.unique()) >= len(keys) - 2


def test_a_set_of_which_nothing_can_be_read_ends_in_one_error(open_loader, shard_dir):
    loader = open_loader()
    for tar in shard_dir.glob("*.tar"):
        tar.write_bytes(b"")
    with pytest.raises(
        DataError, match=r"step 0, .*tar: nothing can be read in place of a sample, 32"
    ):
        list(loader.batches(0, 1))


def test_a_set_smaller_than_the_batch_is_refused(open_loader):
    with pytest.raises(DataError, match="smaller than one global batch; got 37 samples"):
        open_loader("schedule.global_batch_size=38")


def test_a_missing_shard_set_is_refused(open_loader, tmp_path):
    with pytest.raises(ShardError, match="not a complete shard set"):
        open_loader(f"data.shards={tmp_path / 'nowhere'}")


def test_the_state_is_one_of_the_run_not_of_the_rank(open_loader):
    states = [
        open_loader(*overrides, rank=rank, world_size=world_size).state()
        for rank, world_size, overrides in (
            (0, 1, []),
            (3, 4, ["schedule.micro_batch_size=1", "data.decode_threads=3"]),
        )
    ]
    assert json.loads(json.dumps(states[0])) == states[1]


def test_a_resume_on_another_shard_set_is_refused(open_loader, tmp_path, pack_shards, jpegs):
    other = pack_shards(tmp_path / "other", [jpegs[:20]])
    state = open_loader().state()
    with pytest.raises(
        DataError, match=r"dataset_fingerprint: .* got [0-9a-f]{64} .* [0-9a-f]{64}"
    ):
        open_loader(f"data.shards={other}").check_state(state)


def test_a_set_says_who_is_in_it_or_nothing(open_loader, shard_dir, tmp_path, pack_shards, jpegs):
    assert open_loader().cohort() is None
    spoken = pack_shards(tmp_path / "spoken", [jpegs], composition={"num_images": 37})
    cohort = open_loader(f"data.shards={spoken}").cohort()
    assert cohort["sets"] == [{"share": 1.0, "composition": {"num_images": 37}}]
    assert cohort["dataset_fingerprint"] == read_manifest(spoken).fingerprint
    mixed = f"data.shards=[{{path: {shard_dir}, weight: 1}}, {{path: {spoken}, weight: 3}}]"
    sets = open_loader(mixed).cohort()["sets"]
    assert sets == [
        {"share": 0.25, "composition": None}, {"share": 0.75, "composition": {"num_images": 37}},
    ]  # fmt: skip
    (spoken / "cohort.json").write_text("{")
    with pytest.raises(DataError, match="cohort.json: cannot read the composition"):
        open_loader(f"data.shards={spoken}").cohort()


def test_files_are_closed_with_the_loader(open_loader, open_files):
    loader = open_loader()
    list(loader.batches(0, 4))
    assert len(open_files()) > 0
    loader.close()
    assert open_files() == set()


class FakeClock:
    """Stands still; tells others whenever the main thread, the consumer, looks at it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.consumer_looked = threading.Semaphore(0)

    def __call__(self) -> float:
        if threading.current_thread() is threading.main_thread():
            self.consumer_looked.release()
        return self.now_s


def test_waiting_is_timed_and_using_a_batch_is_not(open_loader, shard_dir):
    clock = FakeClock()

    class SlowDecoder(RecordingDecoder):
        """Takes 10 s per batch, all of them while the consumer waits for it."""

        def decode(self, batches, replace):
            num_looks = 1  # the consumer looks when its wait begins, and when it ends
            for made in super().decode(batches, replace):
                for _ in range(num_looks):
                    assert clock.consumer_looked.acquire(timeout=10)
                num_looks = 2
                clock.now_s += 10
                yield made

    other = open_loader()
    loader = Loader(
        sets=other._sets,
        maker=other._maker,
        decoder=SlowDecoder(),
        sampling=other._sampling,
        transfer=Transfer(CPU),
        prefetch_batches=1,
        timings=Timings(("wait_s", "read_s", "decode_s"), clock=clock),
    )
    for _ in loader.batches(0, 1):
        assert loader.timings()["wait_s"] == 10.0
        clock.now_s += 1000  # training on the batch
    loader.close()


def test_reading_decoding_and_waiting_are_all_reported(open_loader):
    loader = open_loader()
    list(loader.batches(0, 2))
    timings = loader.timings()
    assert set(timings) == {"wait_s", "read_s", "decode_s"}
    assert all(seconds > 0 for seconds in timings.values())
    assert set(loader.timings().values()) == {0.0}


def test_auto_decodes_where_the_rank_trains():
    assert resolve_backend("auto", torch.device("cpu")) == "cpu"
    assert resolve_backend("auto", torch.device("cuda", 1)) == "gpu"
    assert resolve_backend("cpu", torch.device("cuda", 1)) == "cpu"
    assert resolve_backend("gpu", torch.device("cuda", 1)) == "gpu"
    with pytest.raises(DataError, match='data.backend: .* got "gpu" with device cpu'):
        resolve_backend("gpu", torch.device("cpu"))


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_batches_on_a_gpu_are_the_same_however_they_are_shared_out(make_config, backend):
    device = torch.device("cuda", 0)

    def build(*overrides, rank, world_size):
        ranks = Ranks(rank=rank, local_rank=0, world_size=world_size)
        config = make_config(f"data.backend={backend}", *overrides)
        return build_loader(config, ranks=ranks, device=device)

    expected = global_batches(build, (0, 6), world_size=1)
    assert expected[0][1].device == device
    for world_size, micro_batch_size in ((2, 4), (4, 1)):
        override = f"schedule.micro_batch_size={micro_batch_size}"
        assert_same(global_batches(build, (0, 6), override, world_size=world_size), expected)


def test_a_set_that_is_deleted_while_it_is_read_is_noticed(open_loader, shard_dir):
    loader = open_loader()
    assert loader.is_there()
    manifest = (shard_dir / "manifest.json").rename(shard_dir / "hidden.json")
    try:
        assert not loader.is_there()
    finally:
        manifest.rename(shard_dir / "manifest.json")


def test_threads_share_the_interpreter_fairly_while_batches_are_made(open_loader):
    usual_s = sys.getswitchinterval()
    batches = open_loader().batches(0, 2)
    next(batches)
    assert sys.getswitchinterval() < 1e-3
    batches.close()
    assert sys.getswitchinterval() == usual_s
