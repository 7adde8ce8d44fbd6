import json
import platform

from retfm_dist.config.load import config_hash
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.environment import describe_environment, git_commit
from tests.fakes.training import tiny_config


def test_a_start_can_be_repeated_from_its_environment(tmp_path):
    config = tiny_config(tmp_path)
    facts = describe_environment(
        config, ranks=Ranks(world_size=2), engine={"accelerator": "cpu", "optimizer": "X"}
    )
    assert facts["config_hash"] == config_hash(config)
    assert facts["world_size"] == 2
    assert {"torch", "deepspeed", "retfm_dist"} <= facts["versions"].keys()
    assert any(name.startswith("nvidia-dali") for name in facts["versions"])
    assert platform.node() not in json.dumps(facts)


def test_a_commit_is_forty_digits_or_unknown():
    commit = git_commit()
    assert commit is None or (len(commit) == 40 and int(commit, 16) >= 0)
