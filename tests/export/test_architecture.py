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
    encoder_state,
    timm_config,
)
from retfm_dist.model.mae import MaskedAutoencoder
from retfm_dist.model.sizes import MAE_SIZES
from tests.fakes.runs import TINY, trained_model

VITL = Architecture(img_size=224, patch_size=16, embed_dim=1024, depth=24, num_heads=16)
HERE = Path("x.pth")


def test_a_vit_large_has_the_published_number_of_tensors_and_values():
    with torch.device("meta"):
        state = MaskedAutoencoder(MAE_SIZES["L"]).state_dict()
    encoder = encoder_state(state)
    assert (len(state), len(encoder)) == (398, 294)
    assert sum(tensor.numel() for tensor in state.values()) == 329_541_888
    assert sum(tensor.numel() for tensor in encoder.values()) == 303_301_632


def test_the_encoder_of_a_state_dict_is_what_timm_expects():
    state = encoder_state(trained_model(0).state_dict())
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
    assert "num_classes" not in config["model_args"], "Hugging Face passes it twice"


@pytest.mark.parametrize("size", ["S", "B", "L", "H"])
def test_the_dimensions_of_published_sizes_are_read_from_shapes(size):
    with torch.device("meta"):
        state = MaskedAutoencoder(MAE_SIZES[size]).state_dict()
    found = architecture_of(encoder_state(state), num_heads=MAE_SIZES[size].num_heads, where=HERE)
    wanted = {name: getattr(MAE_SIZES[size], name) for name in Architecture.__annotations__}
    assert found == Architecture(**wanted)


@pytest.mark.parametrize("num_heads", [5, 48])
def test_heads_that_do_not_divide_the_width_are_refused(num_heads):
    with pytest.raises(ExportError, match=f"got num_heads {num_heads}, width 24; set num_heads"):
        architecture_of(trained_model(0).state_dict(), num_heads=num_heads, where=HERE)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("patch_embed.proj.weight", (24, 192), "patch_embed.proj.weight has another form"),
        ("patch_embed.proj.weight", (24, 3, 0, 0), "patch_embed.proj.weight has another form"),
        ("pos_embed", (17, 24), r"pos_embed has another form .* got \[17, 24\]"),
        ("pos_embed", (1, 1, 4, 4, 24), "pos_embed has another form .* expected 3 dimensions"),
        ("pos_embed", (1, 16, 24), r"pos_embed is not that of a square grid .* got \[1, 16, 24\]"),
        ("pos_embed", (1, 1, 24), "pos_embed is not that of a square grid"),
    ],
)
def test_tensors_of_another_rank_are_one_clear_message(name, shape, message):
    state = trained_model(0).state_dict() | {name: torch.zeros(shape)}
    with pytest.raises(ExportError, match=f"x.pth: {message}"):
        architecture_of(state, num_heads=3, where=HERE)


def test_another_model_is_refused():
    with pytest.raises(ExportError, match="no tensor patch_embed.proj.weight.*of MAE's encoder"):
        architecture_of({"conv1.weight": torch.zeros(1)}, num_heads=3, where=HERE)
