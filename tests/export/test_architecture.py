import json
from pathlib import Path

import pytest
import timm
import torch

from retfm_dist.errors import ExportError
from retfm_dist.export.architecture import (
    Architecture,
    architecture_of,
    build_encoder,
    encoder_names,
    encoder_state,
    mae_names,
    timm_config,
)
from retfm_dist.model.mae import MaskedAutoencoder
from retfm_dist.model.sizes import MAE_SIZES
from tests.fakes.runs import TINY, trained_model

VITL = Architecture(img_size=224, patch_size=16, embed_dim=1024, depth=24, num_heads=16)
HERE = Path("x.pth")


def test_a_vit_large_has_the_published_number_of_tensors_and_values():
    with torch.device("meta"):
        shapes = {
            name: t.shape for name, t in MaskedAutoencoder(**MAE_SIZES["L"]).state_dict().items()
        }
    assert len(mae_names(24, 8)) == 398
    assert len(encoder_names(24)) == 294
    assert shapes.keys() == mae_names(24, 8)
    assert sum(shape.numel() for shape in shapes.values()) == 329_541_888
    assert sum(shapes[name].numel() for name in encoder_names(24)) == 303_301_632


def test_the_encoder_of_a_state_dict_is_what_timm_expects():
    state = encoder_state(trained_model(0).state_dict())
    assert state.keys() == encoder_names(TINY["depth"])
    model = build_encoder(architecture_of(state, num_heads=3, where=HERE))
    assert {name: t.shape for name, t in model.state_dict().items()} == {
        name: t.shape for name, t in state.items()
    }


def test_every_layer_norm_has_the_epsilon_of_mae():
    model = build_encoder(architecture_of(trained_model(0).state_dict(), num_heads=3, where=HERE))
    norms = [module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert len(norms) == 2 * TINY["depth"] + 1
    assert {norm.eps for norm in norms} == {1e-6}


def test_the_timm_config_is_json_and_names_an_architecture_of_timm():
    config = json.loads(json.dumps(timm_config(VITL)))
    assert timm.is_model(config["architecture"])
    assert config["pretrained_cfg"]["input_size"] == [3, 224, 224]
    assert config["pretrained_cfg"]["interpolation"] == "bicubic"
    assert config["pretrained_cfg"]["crop_pct"] == 1.0


@pytest.mark.parametrize("size", ["S", "B", "L", "H"])
def test_the_dimensions_of_published_sizes_are_read_from_shapes(size):
    with torch.device("meta"):
        state = MaskedAutoencoder(**MAE_SIZES[size]).state_dict()
    found = architecture_of(encoder_state(state), num_heads=None, where=HERE)
    wanted = {name: MAE_SIZES[size][name] for name in Architecture.__annotations__}
    assert found == Architecture(**wanted)


def test_unknown_heads_are_an_error_not_a_guess():
    with pytest.raises(
        ExportError, match="number of attention heads.*got width 24.*give num_heads"
    ):
        architecture_of(trained_model(0).state_dict(), num_heads=None, where=HERE)


def test_another_model_is_refused():
    with pytest.raises(ExportError, match="no tensor patch_embed.proj.weight.*MAE's names"):
        architecture_of({"conv1.weight": torch.zeros(1)}, num_heads=None, where=HERE)
