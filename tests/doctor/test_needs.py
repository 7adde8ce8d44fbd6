import pytest

from retfm_dist.config import find_config, load_config
from retfm_dist.doctor.needs import needs_of

VITL = load_config(find_config("vitl_moorfields.yaml"), [])


def test_a_vit_l_on_eight_h100():
    found = needs_of(VITL, num_hosts=1, accelerators=("NVIDIA H100 80GB HBM3",) * 8)
    # 329.5 M parameters, three checkpoints kept and one being written.
    assert found.checkpoint_bytes == pytest.approx(4 * 12 * 329.5e6, rel=0.01)
    assert found.images_per_s == pytest.approx(8 * 0.4 * 989e12 / 124.226e9, rel=0.01)
    assert found.step_s == pytest.approx(1792 / found.images_per_s)
    assert found.step_bytes == 0
    assert found.cores_per_rank == 15


def test_hosts_exchange_gradients_and_weights_once_around():
    two = needs_of(VITL, num_hosts=2, accelerators=())
    assert two.step_bytes == pytest.approx(2 * 2 * 329.5e6 / 2, rel=0.01)
    assert (two.images_per_s, two.step_s) == (None, None)
    assert needs_of(VITL, num_hosts=8, accelerators=()).step_bytes > two.step_bytes


def test_a_throughput_that_is_asked_for_counts():
    found = needs_of(VITL, num_hosts=1, accelerators=("unknown",), images_per_s=1792.0)
    assert (found.images_per_s, found.step_s) == (1792.0, 1.0)
    assert needs_of(VITL, num_hosts=1, accelerators=("unknown",)).images_per_s is None


def test_an_optimizer_on_a_disk_takes_room_on_every_host(tmp_path):
    words = ["engine.zero_stage=2", "engine.offload_optimizer=true"]
    words.append(f"engine.offload_dir={tmp_path}")
    config = load_config(find_config("vitl_moorfields.yaml"), words)
    found = needs_of(config, num_hosts=2, accelerators=())
    assert found.offload_bytes == pytest.approx(28 * 329.5e6 / 2, rel=0.01)
    config = load_config(find_config("vitl_moorfields.yaml"), [*words, "optimizer.ema_decay=0.999"])
    found = needs_of(config, num_hosts=2, accelerators=())
    assert found.offload_bytes == pytest.approx(36 * 329.5e6 / 2, rel=0.01)
    assert needs_of(VITL, num_hosts=2, accelerators=()).offload_bytes == 0
