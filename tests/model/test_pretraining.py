import pytest
import torch
from safetensors.torch import save_file

from retfm_dist.errors import ModelError
from retfm_dist.model.flops import train_flops_per_image
from retfm_dist.model.mae import MaskedAutoencoder, init_weights
from retfm_dist.model.pretraining import build_pretraining_model
from tests.fakes.runs import pretrain_config


def test_random_weights_are_those_of_the_seed(tmp_path):
    config = pretrain_config(tmp_path)
    model = build_pretraining_model(config)
    model.initialize()
    expected = MaskedAutoencoder(config.model)
    init_weights(expected, config.run.seed)
    for name, value in expected.state_dict().items():
        assert torch.equal(model.module.state_dict()[name], value), name
    assert model.flops_per_image == train_flops_per_image(config.model)


def test_weights_to_start_from_are_read_when_asked_for_and_not_before(tmp_path):
    config = pretrain_config(tmp_path, init_from=str(tmp_path / "start.safetensors"))
    model = build_pretraining_model(config)
    with pytest.raises(ModelError, match="start.safetensors: no such weights file"):
        model.initialize()
    other = MaskedAutoencoder(config.model)
    init_weights(other, 7)
    save_file(other.state_dict(), tmp_path / "start.safetensors")
    model.initialize()
    assert torch.equal(model.module.decoder_pred.weight, other.decoder_pred.weight)


def test_the_attention_kernels_of_encoder_and_decoder_are_told(tmp_path, monkeypatch):
    device = torch.device("cpu")
    config = pretrain_config(tmp_path)
    by_table = {(5, 8): ("math",), (17, 8): ("flash", "efficient")}
    monkeypatch.setattr(
        "retfm_dist.model.pretraining.kernels_for", lambda device, dtype, *shape: by_table[shape]
    )
    told = build_pretraining_model(config).attention(device)
    assert told == "5x8 math, 17x8 flash or efficient"
    engine = config.engine.model_copy(update={"attention": "cudnn"})
    told = build_pretraining_model(config.model_copy(update={"engine": engine})).attention(device)
    assert told == "5x8 cudnn, 17x8 cudnn"


def test_the_picture_is_of_the_model_itself(tmp_path):
    model = build_pretraining_model(pretrain_config(tmp_path))
    model.initialize()
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    assert model.draw(images, torch.rand(2, 16)).shape == (64, 96, 3)
