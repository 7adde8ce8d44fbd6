import torch

from retfm_dist.ranks.world import Ranks
from retfm_dist.train.run import Job
from retfm_dist.train.run_dir import RunDir
from tests.fakes.training import tiny_config


def test_the_device_is_named_as_its_maker_names_it(tmp_path, monkeypatch):
    def run_on(device):
        config, run_dir = tiny_config(tmp_path), RunDir(tmp_path)
        return Job(config, run_dir, None, Ranks(), torch.device(device), None, None, None, None)

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"NVIDIA X {device.index}")
    assert run_on("cpu").device_name == "cpu"
    assert run_on("cuda:1").device_name == "NVIDIA X 1"
