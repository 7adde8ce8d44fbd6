import dataclasses
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from retfm_dist.durable import sha256_file
from retfm_dist.errors import EvaluateError, ImageError
from retfm_dist.evaluate.config import ComputeConfig
from retfm_dist.evaluate.encode import features as features_module
from retfm_dist.evaluate.encode.features import chunk_key, compute_features, prepare_image
from retfm_dist.evaluate.encode.models import build_arms, choose_device
from retfm_dist.model.mae import MaskedAutoencoder
from tests.fakes.evaluation import checked, evaluation, mae_state, write_archive, write_tiny_export

COMPUTE = ComputeConfig(batch_size=3)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    write_archive(root, num_patients=4)
    write_tiny_export(root / "export")
    return root


@pytest.fixture(scope="module")
def arms(root):
    return build_arms(checked(evaluation(root, compute={"device": "cpu"})))


@pytest.fixture(scope="module")
def paths(root):
    return {sha256_file(path): path for path in sorted((root / "images").iterdir())}


def test_features_are_those_of_timm_and_of_the_masked_autoencoder(root, arms, paths, tmp_path):
    found = compute_features(paths, arms, cache_dir=tmp_path, compute=COMPUTE)
    digest, path = next(iter(paths.items()))
    pixels = torch.from_numpy(prepare_image(path, [32], where="x")[32].copy())[None]
    mae = MaskedAutoencoder(
        img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=3, decoder_embed_dim=16,
        decoder_depth=1, decoder_num_heads=2, mask_ratio=0.75, norm_pix_loss=True,
    )  # fmt: skip
    mae.load_state_dict(mae_state())
    model = timm.create_model(f"local-dir:{root / 'export'}", pretrained=True).eval()
    config = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(config[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        by_mae = mae.forward_features(pixels)[0, 1:].mean(dim=0)
        by_timm = model((pixels / 255 - mean) / std)[0]
    np.testing.assert_allclose(found.by_arm["tiny"][digest], by_mae, atol=1e-5)
    np.testing.assert_allclose(found.by_arm["tiny"][digest], by_timm, atol=1e-5)


def test_every_image_has_features_whatever_the_chunks(arms, paths, tmp_path, monkeypatch):
    whole = compute_features(paths, arms, cache_dir=tmp_path / "a", compute=COMPUTE)
    monkeypatch.setattr(features_module, "CHUNK_IMAGES", 3)
    chunked = compute_features(paths, arms, cache_dir=tmp_path / "b", compute=COMPUTE)
    assert len(list((tmp_path / "b").iterdir())) == 3 * len(arms)
    for arm in arms:
        np.testing.assert_allclose(
            whole.matrix(arm.id, list(paths)), chunked.matrix(arm.id, list(paths)), atol=1e-5
        )


def test_the_second_time_nothing_is_decoded(arms, paths, tmp_path, monkeypatch):
    first = compute_features(paths, arms, cache_dir=tmp_path, compute=COMPUTE)

    def fail(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(features_module, "prepare_image", fail)
    again = compute_features(paths, arms, cache_dir=tmp_path, compute=COMPUTE)
    for arm in arms:
        assert np.array_equal(first.matrix(arm.id, list(paths)), again.matrix(arm.id, list(paths)))


def test_a_killed_run_continues_with_the_chunks_it_lacks(arms, paths, tmp_path, monkeypatch):
    monkeypatch.setattr(features_module, "CHUNK_IMAGES", 3)
    compute_features(paths, arms, cache_dir=tmp_path, compute=COMPUTE)
    lost = sorted(tmp_path.iterdir())[0]
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path != lost}
    lost.unlink()
    compute_features(paths, arms, cache_dir=tmp_path, compute=COMPUTE)
    assert lost.is_file()
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before


def test_another_model_never_reuses_features(root, arms, paths, tmp_path):
    first = compute_features(paths, arms[:1], cache_dir=tmp_path, compute=COMPUTE)
    write_tiny_export(tmp_path / "export", seed=1)
    values = evaluation(root)
    values["models"][0]["path"] = str(tmp_path / "export")
    changed = build_arms(checked(values))[:1]
    assert changed[0].id == arms[0].id
    second = compute_features(paths, changed, cache_dir=tmp_path, compute=COMPUTE)
    difference = first.matrix("tiny", list(paths)) - second.matrix("tiny", list(paths))
    assert np.abs(difference).max() > 0.01


def test_the_key_depends_on_model_images_code_and_libraries(arms, monkeypatch):
    keys = {
        chunk_key(arms[0], ["a", "b"]),
        chunk_key(arms[0], ["b", "a"]),
        chunk_key(arms[1], ["a", "b"]),
    }
    assert len(keys) == 3
    other = dataclasses.replace(arms[0], id="renamed")
    assert chunk_key(other, ["a", "b"]) in keys
    monkeypatch.setattr(features_module, "version", lambda name: "0")
    assert chunk_key(arms[0], ["a", "b"]) not in keys
    monkeypatch.setattr(features_module, "_code_digest", lambda: "other")
    keys.add(chunk_key(arms[0], ["a", "b"]))
    assert len(keys) == 4


def test_bad_images_are_remembered_with_their_reason(arms, paths, tmp_path):
    (tmp_path / "text.jpg").write_text("no photograph")
    (tmp_path / "cut.png").write_bytes(next(iter(paths.values())).read_bytes()[:500])
    spoiled = {
        **paths,
        "0" * 64: tmp_path / "text.jpg",
        "1" * 64: tmp_path / "cut.png",
    }
    for _ in range(2):  # computed, then from the cache
        found = compute_features(spoiled, arms, cache_dir=tmp_path / "cache", compute=COMPUTE)
        assert found.bad.keys() == {"0" * 64, "1" * 64}
        assert "no JPEG, PNG or TIFF" in found.bad["0" * 64]
        assert found.by_arm["tiny"].keys() == paths.keys()


def test_a_file_that_cannot_be_read_now_ends_the_run_and_is_not_remembered(arms, paths, tmp_path):
    spoiled = {**paths, "2" * 64: tmp_path / "later.png"}
    with pytest.raises(EvaluateError, match="image with sha256 2222.* cannot read an image file"):
        compute_features(spoiled, arms, cache_dir=tmp_path / "cache", compute=COMPUTE)
    (tmp_path / "later.png").write_bytes(next(iter(paths.values())).read_bytes())
    found = compute_features(spoiled, arms, cache_dir=tmp_path / "cache", compute=COMPUTE)
    assert not found.bad
    assert "2" * 64 in found.by_arm["tiny"]


def test_the_code_in_the_key_is_all_that_makes_features():
    names = {module.__name__ for module in features_module._MODULES}
    assert names == {
        "retfm_dist.evaluate.encode.models",
        "retfm_dist.evaluate.encode.handcrafted",
        "retfm_dist.export.architecture",
    }


@pytest.mark.parametrize("module", features_module._MODULES, ids=lambda module: module.__name__)
def test_a_change_of_any_extracting_module_changes_the_key(module, arms, tmp_path, monkeypatch):
    before = chunk_key(arms[0], ["a"])
    source = tmp_path / "changed.py"
    source.write_text(Path(module.__file__).read_text() + "# changed")
    monkeypatch.setattr(module, "__file__", str(source))
    assert chunk_key(arms[0], ["a"]) != before


def test_a_chunk_of_bad_images_alone_is_no_problem(arms, tmp_path):
    (tmp_path / "text.jpg").write_text("no photograph")
    found = compute_features(
        {"0" * 64: tmp_path / "text.jpg"}, arms, cache_dir=tmp_path / "c", compute=COMPUTE
    )
    assert not found.by_arm["tiny"]
    assert len(found.bad) == 1


def test_photographs_are_cropped_to_the_field_of_view_and_resized(paths):
    images = prepare_image(next(iter(paths.values())), [32, 48], where="x")
    assert {size: image.shape for size, image in images.items()} == {
        32: (3, 32, 32),
        48: (3, 48, 48),
    }
    assert images[48][:, 24, 0].max() > 20, "the disc touches the edge"
    assert images[48][:, 0, 0].max() == 0, "the corner is outside"


def test_a_file_that_is_no_photograph_is_an_error(tmp_path):
    (tmp_path / "x.jpg").write_text("text")
    with pytest.raises(ImageError, match="no JPEG, PNG or TIFF"):
        prepare_image(tmp_path / "x.jpg", [32], where="row 3")


def test_the_control_is_the_state_that_pre_training_starts_from(root, arms):
    """Its seed alone decides it: another export of the same size has the same control."""
    start = arms[1]
    state = start.extractor.model.state_dict()
    wanted = mae_state(seed=3)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in state.items())
    assert start.identity != arms[0].identity


def test_the_device_is_chosen_or_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(
        EvaluateError, match="compute.device: no GPU here; got cuda, expected cpu or auto"
    ):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    assert choose_device("cpu").type == "cpu"
