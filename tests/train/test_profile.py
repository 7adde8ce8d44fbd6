import gzip
import json

import pytest
import torch

from retfm_dist.train.profile import StepProfile
from retfm_dist.train.run_dir import RunDir
from tests.fakes.training import run_fit, tiny_config

CPU = torch.device("cpu")


def test_a_run_leaves_a_trace_and_a_table_of_the_steps_asked_for(tmp_path, device):
    run_fit(tiny_config(tmp_path, log__profile_steps=[2, 4]))
    folder = RunDir(tmp_path).profile_dir
    assert sorted(path.name for path in folder.iterdir()) == [
        "steps_00000002_00000004.json.gz", "steps_00000002_00000004.txt",
    ]  # fmt: skip
    with gzip.open(folder / "steps_00000002_00000004.json.gz") as file:
        names = [event.get("name") for event in json.load(file)["traceEvents"]]
    # Two micro-batches of two steps.
    assert names.count("aten::native_layer_norm") == 4
    assert "Self CPU time total" in (folder / "steps_00000002_00000004.txt").read_text()


def test_nothing_is_profiled_unless_asked_for(tmp_path, device):
    run_fit(tiny_config(tmp_path))
    assert not RunDir(tmp_path).profile_dir.exists()


def test_a_window_that_the_run_does_not_reach_the_end_of_leaves_nothing(tmp_path):
    profile = StepProfile(RunDir(tmp_path), (0, 9), device=CPU)
    profile.before(0)
    profile.after(0)
    profile.close()
    assert not list(tmp_path.iterdir())
    StepProfile(RunDir(tmp_path), (1, 2), device=CPU).close()


@pytest.mark.parametrize("window", [[3, 3], [-1, 2], [5, 4]])
def test_a_window_that_is_none_is_refused(tmp_path, window):
    with pytest.raises(ValueError, match="profile_steps must be a window"):
        tiny_config(tmp_path, log__profile_steps=window)
