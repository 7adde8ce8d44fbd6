import argparse
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from retfm_dist.durable import sha256_file
from retfm_dist.errors import ExportError, ModelError
from retfm_dist.export.load import load_encoder, verify_export
from retfm_dist.export.write import write_export
from tests.fakes.runs import trained_model, write_run


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("load")
    write_run(root / "run")
    return write_export(root / "run", root / "export")


@pytest.fixture
def export(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "export")


def seal(export):
    """Make the provenance vouch for the files as they are now."""
    provenance = json.loads((export / "provenance.json").read_text())
    provenance["files"] = {name: sha256_file(export / name) for name in provenance["files"]}
    (export / "provenance.json").write_text(json.dumps(provenance))


def test_a_published_checkpoint_loads_without_running_its_code(tmp_path):
    """RETFound's and MAE's files carry their command line as a Namespace."""
    path = tmp_path / "RETFound.pth"
    torch.save(
        {"model": trained_model(0).state_dict(), "epoch": 800, "args": argparse.Namespace(lr=1)},
        path,
    )
    loaded = load_encoder(path, num_heads=3)
    assert loaded.preprocessing.img_size == 32
    assert loaded.weights_sha256 == sha256_file(path)
    assert torch.equal(loaded.model.norm.weight, trained_model(0).norm.weight)


@pytest.mark.parametrize("name", ["model.safetensors", "mae.safetensors", "retfound.pth"])
def test_every_file_of_an_export_loads_by_itself_and_states_its_heads(export, name):
    loaded = load_encoder(export / name)
    assert torch.equal(loaded.model.norm.weight, trained_model(6).norm.weight)
    assert loaded.architecture == load_encoder(export).architecture
    with pytest.raises(
        ExportError, match=f"{name}: num_heads contradicts the file; got 4, expected 3"
    ):
        load_encoder(export / name, num_heads=4)


def test_heads_that_contradict_an_export_are_refused(export):
    assert load_encoder(export, num_heads=3).architecture.num_heads == 3
    with pytest.raises(ExportError, match="num_heads contradicts the export; got 6, expected 3"):
        load_encoder(export, num_heads=6)


def test_a_file_without_heads_asks_for_them(tmp_path):
    torch.save(trained_model(0).state_dict(), tmp_path / "x.pth")
    with pytest.raises(
        ExportError, match="does not state the number of attention heads.*set num_heads"
    ):
        load_encoder(tmp_path / "x.pth")
    assert load_encoder(tmp_path / "x.pth", num_heads=4).architecture.num_heads == 4


def test_nothing_there_is_an_error_that_says_how_to_get_it(tmp_path):
    with pytest.raises(ExportError, match="no exported model here.*python -m retfm_dist.export"):
        load_encoder(tmp_path / "nowhere")
    with pytest.raises(ExportError, match="no exported model here.*expected model.safetensors"):
        load_encoder(tmp_path)


def test_a_damaged_file_is_an_error(export):
    path = export / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ExportError, match="model.safetensors: file is damaged or was changed"):
        load_encoder(export)
    with pytest.raises(ModelError, match="cannot read the weights"):
        load_encoder(path, num_heads=3)


def test_one_flipped_bit_in_what_is_loaded_is_found(export):
    for name in ("model.safetensors", "config.json"):
        original = (export / name).read_bytes()
        flipped = bytearray(original)
        flipped[-9] ^= 1
        (export / name).write_bytes(flipped)
        with pytest.raises(ExportError, match=f"{name}: file is damaged or was changed"):
            load_encoder(export)
        (export / name).write_bytes(original)
    load_encoder(export)


def test_a_provenance_that_vouches_for_nothing_is_an_error(export):
    for text in ("", "[]", '{"files": {}}'):
        (export / "provenance.json").write_text(text)
        with pytest.raises(ExportError, match="provenance.json: damaged provenance"):
            load_encoder(export)


@pytest.mark.parametrize("text", ["", "{}", '{"model_args": {"img_size": 32}}'])
def test_a_config_that_is_none_is_an_error(export, text):
    (export / "config.json").write_text(text)
    seal(export)
    with pytest.raises(ExportError, match="not the config of an export.*export the run again"):
        load_encoder(export)


def drop(state):
    del state["norm.bias"]


def add(state):
    state["fc_norm.bias"] = torch.zeros(24)


def reshape(state):
    state["pos_embed"] = torch.zeros(1, 50, 24)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop, "not those of the encoder; got 1 missing: norm.bias"),
        (add, "got 1 unexpected: fc_norm.bias"),
        (reshape, r"1 of another shape: pos_embed \(1, 50, 24\) instead of \(1, 17, 24\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(export, spoil, message):
    state = load_file(export / "model.safetensors")
    spoil(state)
    save_file(state, export / "model.safetensors")
    seal(export)
    with pytest.raises(ExportError, match=message):
        load_encoder(export)


def test_verification_finds_any_change(export):
    verify_export(export)
    provenance = json.loads((export / "provenance.json").read_text())
    for name in provenance["files"]:
        original = (export / name).read_bytes()
        flipped = bytearray(original)
        flipped[len(flipped) // 2] ^= 1
        (export / name).write_bytes(flipped)
        with pytest.raises(ExportError, match=f"{name}: file is damaged or was changed"):
            verify_export(export)
        (export / name).unlink()
        with pytest.raises(ExportError, match=f"{name}: file is missing"):
            verify_export(export)
        (export / name).write_bytes(original)
    (export / "provenance.json").unlink()
    with pytest.raises(ExportError, match="no provenance.json; the export is incomplete"):
        verify_export(export)
