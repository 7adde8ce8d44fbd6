from retfm_dist.train.run_dir import RunDir


def test_paths_are_those_of_the_contract(tmp_path):
    run_dir = RunDir(tmp_path)
    assert run_dir.checkpoint_dir(40) == tmp_path / "checkpoints" / "step_00000040"
    assert run_dir.reconstruction_path(7) == tmp_path / "reconstructions" / "step_00000007.png"
    assert run_dir.uid_log_path(12) == tmp_path / "uids" / "rank_0012.jsonl"
    assert run_dir.uid_log_paths() == []
