from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from retfm_dist.config.schema import ModelConfig
from retfm_dist.durable import sha256_file
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import ComputeConfig
from retfm_dist.evaluate.encode import features as features_module
from retfm_dist.evaluate.encode.features import encode_images
from retfm_dist.evaluate.encode.models import build_models
from retfm_dist.evaluate.encode.photographs import Photograph, prepare_squares
from retfm_dist.model.mae import MaskedAutoencoder
from tests.fakes.evaluation import MAE, checked, evaluation, mae_state, write_tiny_export

COMPUTE = ComputeConfig(batch_size=3)


def encode(photographs, models, cache_dir):
    return encode_images(photographs, models, cache_dir=cache_dir, compute=COMPUTE)


def matrix_of(encoded, model, photographs):
    return encoded.matrix(model.id, [encoded.digests[item.row] for item in photographs])


def test_features_are_those_of_timm_and_of_the_masked_autoencoder(
    root, models, photographs, tmp_path
):
    found = encode(photographs, models, tmp_path)
    first = photographs[0]
    pixels = torch.from_numpy(prepare_squares(first.path.read_bytes(), [32])[32].copy())[None]
    mae = MaskedAutoencoder(ModelConfig(**MAE))
    mae.load_state_dict(mae_state())
    model = timm.create_model(f"local-dir:{root / 'export'}", pretrained=True).eval()
    config = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(config[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        by_mae = mae.forward_features(pixels)[0, 1:].mean(dim=0)
        by_timm = model((pixels / 255 - mean) / std)[0]
    features = found.by_model["tiny"][found.digests[first.row]]
    np.testing.assert_allclose(features, by_mae, atol=1e-5)
    np.testing.assert_allclose(features, by_timm, atol=1e-5)


def test_every_image_has_features_whatever_the_blocks(models, photographs, tmp_path, monkeypatch):
    whole = encode(photographs, models, tmp_path / "a")
    monkeypatch.setattr(features_module, "BLOCK_IMAGES", 3)
    blocks = encode(photographs, models, tmp_path / "b")
    assert len(list((tmp_path / "b").rglob("*.safetensors"))) == 3 * len(models)
    for model in models:
        np.testing.assert_allclose(
            matrix_of(whole, model, photographs), matrix_of(blocks, model, photographs), atol=1e-5
        )


def test_each_photograph_is_read_once(models, photographs, tmp_path, monkeypatch):
    taken = Counter()

    def count(path):
        taken[path] += 1
        return original(path)

    original = Path.read_bytes
    key = features_module.FeatureCache  # makes the caches before reads are counted
    caches = {model.id: key(tmp_path, model) for model in models}
    monkeypatch.setattr(features_module, "FeatureCache", lambda _, model: caches[model.id])
    monkeypatch.setattr(Path, "read_bytes", count)
    encode(photographs, models, tmp_path)
    assert taken == {item.path: 1 for item in photographs}


def test_the_second_time_nothing_is_decoded(models, photographs, tmp_path, monkeypatch):
    first = encode(photographs, models, tmp_path)

    def fail(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(features_module, "prepare_squares", fail)
    again = encode(photographs, models, tmp_path)
    for model in models:
        assert np.array_equal(
            matrix_of(first, model, photographs), matrix_of(again, model, photographs)
        )


def test_without_models_photographs_are_hashed_and_not_decoded(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(features_module, "prepare_squares", None)
    found = encode(photographs, [], tmp_path)
    assert found.digests == {item.row: sha256_file(item.path) for item in photographs}
    assert not found.bad


def test_one_added_image_is_all_that_is_computed(models, photographs, tmp_path, monkeypatch):
    encode(photographs[1:], models, tmp_path)
    decoded = []
    original = features_module.prepare_squares
    monkeypatch.setattr(
        features_module,
        "prepare_squares",
        lambda data, sizes: (decoded.append(data), original(data, sizes))[1],
    )
    encode(photographs, models, tmp_path)
    assert decoded == [photographs[0].path.read_bytes()]


def test_a_killed_run_continues_with_the_blocks_it_lacks(
    models, photographs, tmp_path, monkeypatch
):
    monkeypatch.setattr(features_module, "BLOCK_IMAGES", 3)
    encode(photographs, models, tmp_path)
    lost, *others = sorted(tmp_path.rglob("*.safetensors"))
    before = {path: path.stat().st_mtime_ns for path in others}
    lost.unlink()
    encode(photographs, models, tmp_path)
    assert lost.is_file()
    assert {path: path.stat().st_mtime_ns for path in others} == before


def test_another_model_never_reuses_features(root, models, photographs, tmp_path):
    first = encode(photographs, models[:1], tmp_path)
    write_tiny_export(tmp_path / "export", seed=1)
    values = evaluation(root)
    values["models"][0]["path"] = str(tmp_path / "export")
    changed = build_models(checked(values))[:1]
    assert changed[0].id == models[0].id
    second = encode(photographs, changed, tmp_path)
    difference = matrix_of(first, models[0], photographs) - matrix_of(
        second, changed[0], photographs
    )
    assert np.abs(difference).max() > 0.01


def test_bad_images_are_remembered_with_their_reason(models, photographs, tmp_path):
    (tmp_path / "text.jpg").write_text("not a photograph")
    (tmp_path / "cut.png").write_bytes(photographs[0].path.read_bytes()[:500])
    spoiled = [
        *photographs,
        Photograph(101, tmp_path / "text.jpg", "row 101"),
        Photograph(102, tmp_path / "cut.png", "row 102"),
    ]
    for _ in range(2):  # computed, then from the cache
        found = encode(spoiled, models, tmp_path / "cache")
        assert found.bad.keys() == {found.digests[101], found.digests[102]}
        assert "JPEG, PNG or TIFF" in found.bad[found.digests[101]]
        assert found.by_model["tiny"].keys() == {found.digests[item.row] for item in photographs}


def test_a_block_of_bad_images_alone_is_no_problem(models, tmp_path):
    (tmp_path / "text.jpg").write_text("not a photograph")
    found = encode([Photograph(1, tmp_path / "text.jpg", "row 1")], models, tmp_path / "cache")
    assert not found.by_model["tiny"]
    assert len(found.bad) == 1


def test_a_file_that_cannot_be_read_now_ends_the_run_and_is_not_remembered(
    models, photographs, tmp_path
):
    spoiled = [*photographs, Photograph(9, tmp_path / "later.png", "eyes.csv, row 9")]
    with pytest.raises(EvaluateError, match="eyes.csv, row 9: cannot read an image file") as caught:
        encode(spoiled, models, tmp_path / "cache")
    assert "later.png" not in str(caught.value)
    (tmp_path / "later.png").write_bytes(photographs[0].path.read_bytes())
    found = encode(spoiled, models, tmp_path / "cache")
    assert not found.bad
    assert found.digests[9] in found.by_model["tiny"]
