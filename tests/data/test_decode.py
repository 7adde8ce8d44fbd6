import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from retfm_dist.data.decode import Decoder, EncodedBatch, reason_of
from retfm_dist.data.timings import Timings
from retfm_dist.errors import DataError

DALI_TEXT = """Critical error in pipeline:
Error in CPU operator `decoders.image_slice`,
which was used in the pipeline definition with the following traceback:

  File "x.py", line 1, in p

encountered:

nvImageCodec failure: '#4'
Current pipeline object is no longer valid."""


class FakePipeline:
    """Answers a batch with its first bytes; fails on the byte 255, and for good, as DALI may."""

    made = 0

    def __init__(self, events):
        type(self).made += 1
        self.events = events
        self.fed = {}
        self.scheduled = []
        self.is_valid = True

    def feed_input(self, name, data):
        self.fed[name] = data

    def schedule_run(self):
        self.events.append(f"start {[int(jpeg[0]) for jpeg in self.fed['jpegs']]}")
        self.scheduled.append(self.fed)
        self.fed = {}

    def outputs(self):
        fed = self.scheduled.pop(0)
        firsts = [int(jpeg[0]) for jpeg in fed["jpegs"]]
        if 255 in firsts or not self.is_valid:
            self.is_valid = False
            raise RuntimeError(DALI_TEXT)
        return ({"firsts": firsts, **fed},)


@dataclasses.dataclass
class FakeBackend:
    """A back end made of functions."""

    make_pipeline: Callable[[], FakePipeline]
    inputs: tuple[str, ...]
    finish: Callable[..., torch.Tensor]
    close: Callable[[], None]

    def build_pipeline(self):
        return self.make_pipeline()

    def build_probe(self):
        return self.make_pipeline()


class FakeClock:
    now_s = 0.0

    def __call__(self):
        type(self).now_s += 1.0
        return self.now_s


@pytest.fixture
def events():
    return []


@pytest.fixture
def decoder(events):
    def finish(output, batch):
        events.append(f"finish {output['firsts']}")
        return torch.tensor(output["firsts"])

    backend = FakeBackend(
        make_pipeline=lambda: FakePipeline(events),
        inputs=("jpegs", "starts", "shapes"),
        finish=finish,
        close=lambda: events.append("close"),
    )
    return Decoder(backend, timings=Timings(("decode_s",)))


def replace_none(batch, undecodable):
    raise AssertionError(f"nothing is to be replaced: {undecodable}")


def encoded(*firsts, step=0):
    count = len(firsts)
    return EncodedBatch(
        step=step,
        micro_step=1,
        epoch=0,
        uids=np.arange(count, dtype=np.uint64),
        keys=np.arange(count, dtype=np.uint64),
        jpegs=[np.array([first, 0], dtype=np.uint8) for first in firsts],
        boxes=np.arange(4 * count, dtype=np.int64).reshape(count, 4),
        flips=np.zeros(count, dtype=bool),
    )


def test_the_pipeline_works_on_the_next_batch_while_one_is_finished(decoder, events):
    batches = [encoded(1, 2), encoded(3), encoded(4)]
    decoded = list(decoder.decode(batches, replace_none))
    assert [batch for batch, _ in decoded] == batches
    assert [images.tolist() for _, images in decoded] == [[1, 2], [3], [4]]
    assert events == [
        "start [1, 2]",
        "start [3]",
        "finish [1, 2]",
        "start [4]",
        "finish [3]",
        "finish [4]",
    ]


def test_boxes_are_fed_as_packed_corners_and_sizes_and_unused_inputs_are_not(events):
    seen = []

    def finish(output, batch):
        seen.append(output)
        return torch.zeros(1)

    backend = FakeBackend(
        lambda: FakePipeline(events), ("jpegs", "starts", "shapes"), finish, lambda: None
    )
    list(Decoder(backend, timings=Timings(("decode_s",))).decode([encoded(1, 2)], replace_none))
    assert seen[0]["starts"].tolist() == [[0, 1], [4, 5]]
    assert seen[0]["shapes"].tolist() == [[2, 3], [6, 7]]
    for name in ("starts", "shapes"):
        assert seen[0][name].dtype == np.int32
        assert seen[0][name].flags.c_contiguous
    assert "flips" not in seen[0]


def replace_by(value, asked):
    """Puts `value` in place of whatever cannot be decoded."""

    def replace(batch, undecodable):
        asked.append((batch.step, dict(undecodable)))
        jpegs = list(batch.jpegs)
        for i in undecodable:
            jpegs[i] = np.array([value, 0], dtype=np.uint8)
        return dataclasses.replace(batch, jpegs=jpegs)

    return replace


def test_samples_that_cannot_be_decoded_are_all_replaced_at_once(decoder):
    asked = []
    batches = [encoded(1, 2), encoded(3, 255, 4, 255, step=6), encoded(9)]
    decoded = list(decoder.decode(batches, replace_by(7, asked)))
    assert [images.tolist() for _, images in decoded] == [[1, 2], [3, 7, 4, 7], [9]]
    assert [int(jpeg[0]) for jpeg in decoded[1][0].jpegs] == [3, 7, 4, 7]
    reason = "nvImageCodec failure: '#4'"
    assert asked == [(6, {1: reason, 3: reason})]


def test_substitutes_that_cannot_be_decoded_either_come_to_an_end(decoder):
    asked = []
    with pytest.raises(DataError, match=r"step 2, micro-step 1, 2 samples: the batch cannot be"):
        list(decoder.decode([encoded(1, 255, step=2)], replace_by(255, asked)))
    assert len(asked) > 3
    assert [images.tolist() for _, images in decoder.decode([encoded(5)], replace_none)] == [[5]]


class FailsTogether(FakePipeline):
    """Fails on every batch of more than one sample, as long as `failures` lasts."""

    failures = 0

    def outputs(self):
        fed = self.scheduled.pop(0)
        if len(fed["jpegs"]) > 1 and type(self).failures:
            type(self).failures -= 1
            raise RuntimeError("out of memory")
        return ({"firsts": [int(jpeg[0]) for jpeg in fed["jpegs"]]},)


@pytest.mark.parametrize("failures", [1, 2])
def test_a_failure_of_no_single_sample_is_tried_again_once(events, failures, monkeypatch):
    monkeypatch.setattr(FailsTogether, "failures", failures)
    backend = FakeBackend(
        lambda: FailsTogether(events),
        ("jpegs",),
        lambda output, _: torch.tensor(output["firsts"]),
        lambda: None,
    )
    decoder = Decoder(backend, timings=Timings(("decode_s",)))
    if failures == 1:
        decoded = list(decoder.decode([encoded(8, 9)], replace_none))
        assert [images.tolist() for _, images in decoded] == [[8, 9]]
    else:
        with pytest.raises(DataError, match=r"2 samples: the batch cannot .* got out of memory"):
            list(decoder.decode([encoded(8, 9)], replace_none))


@pytest.mark.parametrize("ahead", [2, 255])
def test_stopping_early_leaves_nothing_in_flight(decoder, ahead):
    decoded = decoder.decode([encoded(1), encoded(ahead), encoded(3)], replace_none)
    next(decoded)
    decoded.close()
    assert [images.tolist() for _, images in decoder.decode([encoded(7)], replace_none)] == [[7]]


def test_an_error_of_the_reader_passes_through(decoder):
    def batches():
        yield encoded(1)
        raise DataError("the sample is damaged")

    with pytest.raises(DataError, match="the sample is damaged"):
        list(decoder.decode(batches(), replace_none))
    assert [images.tolist() for _, images in decoder.decode([encoded(7)], replace_none)] == [[7]]


def test_waiting_and_finishing_are_timed_and_reading_is_not(events):
    clock = FakeClock()
    timings = Timings(("decode_s",), clock=clock)
    backend = FakeBackend(
        lambda: FakePipeline(events), ("jpegs",), lambda *_: torch.zeros(1), lambda: None
    )

    def slow_batches():
        for first in (1, 2):
            FakeClock.now_s += 1000
            yield encoded(first)

    list(Decoder(backend, timings=timings).decode(slow_batches(), replace_none))
    # Two waits and two finishes, each one tick of the clock.
    assert timings.take() == {"decode_s": 4.0}


def test_closing_frees_the_back_end(decoder, events):
    decoder.close()
    assert events == ["close"]


def test_the_reason_is_the_line_that_says_what_happened():
    assert reason_of(RuntimeError(DALI_TEXT)) == "nvImageCodec failure: '#4'"
    assert reason_of(RuntimeError("\n first \n second")) == "first"
    assert reason_of(RuntimeError("encountered:")) == "encountered:"
    assert reason_of(RuntimeError("")) == "an error without text"
