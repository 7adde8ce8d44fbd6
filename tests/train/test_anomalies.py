import json
import logging

import torch

from retfm_dist.ranks.world import Ranks
from retfm_dist.train.anomalies import record_problem
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.stability import Problem

UIDS = [torch.tensor([1, -1]), torch.tensor([255])]


def test_a_line_names_step_reason_and_images(tmp_path, caplog):
    run_dir = RunDir(tmp_path)
    bad = Problem(12, "loss", (0,), (float("nan"),), 3e38)
    spike = Problem(13, "spike", (), (9.0,), 2.5)
    for problem in (bad, spike):
        record_problem(problem, UIDS, run_dir=run_dir, ranks=Ranks())
    lines = [json.loads(line) for line in run_dir.anomalies_path.read_text().splitlines()]
    uids = ["0000000000000001", "ffffffffffffffff", "00000000000000ff"]
    assert lines == [
        {"step": 12, "kind": "loss", "ranks": [0], "losses": [None], "limit": None, "uids": uids},
        {"step": 13, "kind": "spike", "ranks": [], "losses": [9.0], "limit": 2.5, "uids": uids},
    ]
    assert caplog.messages == [
        "step 12 changed no weight: the loss is not finite on rank 0; its 3 images are in "
        "anomalies.jsonl",
        "step 13 changed no weight: the loss is 9, above 2.5; its 3 images are in anomalies.jsonl",
    ]
    assert caplog.records[0].levelno == logging.WARNING
