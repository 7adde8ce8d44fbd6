import json

import pytest

from retfm_dist.data.faults import Replacement
from retfm_dist.errors import DataError
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.bad_samples import BadSamples, most_bad_samples
from retfm_dist.train.checkpoint.folder import find_checkpoint
from retfm_dist.train.checkpoint.read import read_state
from tests.fakes.training import FakeLoader, run_fit, tiny_config


def damaged(row, shard="000001.tar"):
    return Replacement("0f" * 8, shard, row, "damaged: crc32", "ab" * 8)


def test_a_ratio_allows_for_at_least_one_unless_it_is_zero():
    assert most_bad_samples(0.001, num_samples=904_170) == 904
    assert most_bad_samples(0.001, num_samples=37) == 1
    assert most_bad_samples(0.0, num_samples=10**6) == 0


def test_each_sample_is_logged_and_counted_by_epoch(tmp_path, caplog):
    bad = BadSamples(tmp_path / "bad.jsonl", most=3, steps_per_epoch=20, ranks=Ranks())
    assert not bad.has_fresh
    bad.note(7, [damaged(1), damaged(2)])
    assert bad.has_fresh
    bad.share()
    assert not bad.has_fresh
    bad.note(9, [damaged(1)])
    bad.share()
    assert bad.state() == {"epoch": 0, "count": 3}
    assert not bad.are_too_many
    bad.note(30, [damaged(2)])
    bad.share()
    assert bad.state() == {"epoch": 1, "count": 1}
    lines = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [(line["step"], line["epoch"], line["row"]) for line in lines] == [
        (7, 0, 1), (7, 0, 2), (9, 0, 1), (30, 1, 2),
    ]  # fmt: skip
    assert lines[0] == {"step": 7, "epoch": 0, "rank": 0, **vars(damaged(1))}
    # Each sample is told of once by a process, however often it is met.
    assert [message.split(":")[0] for message in caplog.messages] == ["step 7", "step 7"]
    assert "000001.tar, sample 2: damaged: crc32" in caplog.messages[1]


def test_too_many_name_the_tars_they_are_in(tmp_path):
    bad = BadSamples(
        tmp_path / "bad.jsonl",
        most=3,
        steps_per_epoch=20,
        ranks=Ranks(),
        begun={"epoch": 2, "count": 2},
    )
    bad.note(50, [damaged(1, "000007.tar"), damaged(1)])
    bad.share()
    assert bad.are_too_many
    assert str(bad.refusal()).startswith(
        f"{tmp_path}/bad.jsonl: too many images cannot be used: 4 in epoch 2; "
        "got 000007.tar: 1, 000001.tar: 1, expected at most 3 (data.max_bad_ratio); "
    )


def test_two_epochs_told_at_once_are_counted_apart(tmp_path):
    bad = BadSamples(tmp_path / "bad.jsonl", most=3, steps_per_epoch=20, ranks=Ranks())
    bad.note(19, [damaged(row) for row in range(3)])
    bad.note(20, [damaged(4)])
    bad.share()
    assert bad.state() == {"epoch": 1, "count": 1}
    assert not bad.are_too_many
    bad.note(39, [damaged(row) for row in range(3)])
    bad.note(40, [damaged(4)])
    bad.share()
    assert bad.state() == {"epoch": 1, "count": 4}
    assert bad.are_too_many, "a new epoch does not excuse the one before"
    assert "4 in epoch 1" in str(bad.refusal())


def test_many_at_once_do_not_flood_the_terminal(tmp_path, caplog):
    bad = BadSamples(tmp_path / "bad.jsonl", most=3, steps_per_epoch=20, ranks=Ranks())
    bad.note(0, [damaged(row) for row in range(40)])
    bad.share()
    assert len(caplog.messages) == 6
    assert caplog.messages[-1] == "and of 35 more, see bad.jsonl"


def test_a_run_goes_on_with_few_and_saves_and_stops_with_too_many(tmp_path, device):
    # 32 images an epoch: 3 may be bad.
    config = tiny_config(
        tmp_path,
        data__max_bad_ratio=0.1,
        checkpoint__every="100 steps",
        schedule__duration="10 steps",
    )
    loader = FakeLoader(config, Ranks(), replaced={1: 1, 2: 2, 4: 1, 5: 3, 6: 1})
    with pytest.raises(
        DataError, match=r"bad_samples.jsonl: too many .*: 4 in epoch 1; got 000000"
    ):
        run_fit(config, loader=loader)
    state = read_state(find_checkpoint(tmp_path))
    assert (state["step"], state["bad_samples"]) == (6, {"epoch": 1, "count": 4})
    # The same command goes on from there, and counts anew.
    loader = FakeLoader(config, Ranks(), replaced={6: 4, 8: 1})
    with pytest.raises(DataError, match="4 in epoch 1"):
        run_fit(config, loader=loader)
    assert read_state(find_checkpoint(tmp_path))["step"] == 7
    more = tiny_config(
        tmp_path,
        data__max_bad_ratio=0.5,
        checkpoint__every="100 steps",
        schedule__duration="10 steps",
    )
    run_fit(more, loader=FakeLoader(more, Ranks(), replaced={8: 1}))
    assert (tmp_path / "DONE").exists()
    lines = [json.loads(line) for line in (tmp_path / "bad_samples.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 2, 4, 5, 5, 5, 6, 6, 6, 6, 8]
