import json

import torch

from retfm_dist.train.uid_log import log_uids
from tests.fakes.training import FakeBatch


def batches(closed):
    try:
        for step in range(2):
            uids = torch.tensor([step, -1])  # the bits of uids above 2**63 are negative int64
            yield FakeBatch(torch.zeros(2), uids, step=step, micro_step=0, epoch=0)
    finally:
        closed.append(True)


def test_uids_are_logged_as_they_are_handed_out(tmp_path):
    path, closed = tmp_path / "uids" / "rank_0000.jsonl", []
    logged = log_uids(batches(closed), path)
    assert not path.exists(), "opened late, once an earlier log has been cut back"
    assert next(logged).step == 0
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 0, "micro_step": 0, "uids": ["0000000000000000", "f" * 16]}
    ]
    logged.close()
    assert closed == [True]


def test_a_later_start_appends(tmp_path):
    path = tmp_path / "rank_0000.jsonl"
    for _ in range(2):
        assert len(list(log_uids(batches([]), path))) == 2
    assert len(path.read_text().splitlines()) == 4
