import pytest

from retfm_dist.doctor.facts import collect_facts, exported_secrets, free_bytes, measure_decoding
from retfm_dist.workers import usable_cores
from tests.fakes.jobs import pack_discs
from tests.fakes.runs import pretrain_config


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return pack_discs(tmp_path_factory.mktemp("shards"))


def test_a_host_says_what_it_is(shards, tmp_path):
    config = pretrain_config(tmp_path / "deep" / "run", shards=shards)
    found = collect_facts(config, decode_s=0)
    assert found.versions["deepspeed"]
    assert len(found.fingerprint) == 64
    assert found.data_error is None
    assert found.images_per_s is None
    assert found.num_cores == usable_cores()
    assert found.free_bytes == pytest.approx(free_bytes(tmp_path), rel=0.1)
    assert (found.offload_free_bytes, found.is_one_disk) == (None, False)


@pytest.mark.parametrize(("folder", "is_one_disk"), [(".", True), ("/dev/shm", False)])
def test_the_disk_of_an_offloaded_optimizer_is_looked_at(shards, tmp_path, folder, is_one_disk):
    engine = {"zero_stage": 2, "offload_optimizer": True, "offload_dir": tmp_path / folder}
    config = pretrain_config(tmp_path / "run", shards=shards)
    config = config.model_copy(update={"engine": config.engine.model_copy(update=engine)})
    found = collect_facts(config, decode_s=0)
    assert found.is_one_disk == is_one_disk
    assert found.offload_free_bytes == pytest.approx(free_bytes(tmp_path / folder), rel=0.1)
    assert (found.offload_file_system == "tmpfs") != is_one_disk
    engine["offload_dir"] = tmp_path / "missing"
    config = config.model_copy(update={"engine": config.engine.model_copy(update=engine)})
    found = collect_facts(config, decode_s=0)
    assert (found.offload_free_bytes, found.offload_file_system) == (None, None)


def test_a_shard_that_is_missing_is_named(shards, tmp_path):
    tar = next(shards.glob("*.tar"))
    hidden = tar.rename(tmp_path / "hidden.tar")
    try:
        found = collect_facts(pretrain_config(tmp_path, shards=shards), decode_s=1.0)
    finally:
        hidden.rename(tar)
    assert tar.name in found.data_error
    assert found.images_per_s is None


def test_decoding_is_measured_with_the_runs_own_loader(shards, tmp_path):
    config = pretrain_config(tmp_path, shards=shards)
    batch = {"global_batch_size": 8, "micro_batch_size": 4}
    config = config.model_copy(update={"schedule": config.schedule.model_copy(update=batch)})
    assert measure_decoding(config, seconds=0.3) > 10


def test_only_secrets_that_the_launcher_shows_are_named(tmp_path):
    (tmp_path / ".deepspeed_env").write_text("WANDB_API_KEY=1\nNCCL_DEBUG=INFO\n")
    variables = {
        "MLFLOW_TRACKING_TOKEN": "1",
        "MLFLOW_TRACKING_URI": "http://x",
        "MLFLOW_TRACKING_PASSWORD": "1",
        "AWS_SECRET_ACCESS_KEY": "1",
        "PYTHONPATH": "/x",
    }
    files = [tmp_path / ".deepspeed_env", tmp_path / "none"]
    assert exported_secrets(variables, files) == (
        "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "WANDB_API_KEY",
    )  # fmt: skip
