import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

import retfm_dist.evaluate.encode
import retfm_dist.export.architecture
import retfm_dist.image
from retfm_dist.evaluate.encode import cache as cache_module
from retfm_dist.evaluate.encode.cache import FeatureCache, cache_key


def test_what_was_added_is_found_again(tmp_path, models):
    cache = FeatureCache(tmp_path, models[0])
    cache.add(["a", "b"], torch.tensor([[1.0, 2.0], [3.0, 4.0]]), bad={"c": "truncated"})
    cache.add([], torch.zeros(0, 0), bad={})
    again = FeatureCache(tmp_path, models[0])
    for found in (cache, again):
        assert found.features["b"].tolist() == [3.0, 4.0]
        assert found.bad == {"c": "truncated"}
        assert "a" in found
        assert "d" not in found
    assert "a" not in FeatureCache(tmp_path, models[1])


def test_later_images_leave_earlier_segments_as_they_are(tmp_path, models):
    cache = FeatureCache(tmp_path, models[0])
    cache.add(["a"], torch.zeros(1, 2), bad={})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    cache.add(["b"], torch.ones(1, 2), bad={})
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_damaged_segment_is_removed_with_a_warning(tmp_path, models, caplog):
    FeatureCache(tmp_path, models[0]).add(["a"], torch.zeros(1, 2), bad={})
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:20])
    assert "a" not in FeatureCache(tmp_path, models[0])
    assert "damaged feature cache" in caplog.text
    assert not path.exists()


def test_the_key_depends_on_model_and_libraries_and_not_on_names(models, monkeypatch):
    assert cache_key(models[0]) != cache_key(models[1])
    assert cache_key(dataclasses.replace(models[0], id="renamed")) == cache_key(models[0])
    before = cache_key(models[0])
    monkeypatch.setattr(cache_module, "software_versions", lambda *names: {"torch": "0"})
    assert cache_key(models[0]) != before


@pytest.mark.parametrize(
    "package", [retfm_dist.image, retfm_dist.evaluate.encode], ids=lambda package: package.__name__
)
def test_a_change_of_any_code_before_the_features_changes_the_key(
    package, models, tmp_path, monkeypatch
):
    before = cache_key(models[0])
    folder = shutil.copytree(next(iter(package.__path__)), tmp_path / "code")
    monkeypatch.setattr(package, "__path__", [str(folder)])
    assert cache_key(models[0]) == before
    module = sorted(folder.glob("*.py"))[-1]
    module.write_text(module.read_text() + "# changed")
    assert cache_key(models[0]) != before


def test_a_change_of_the_architecture_changes_the_key(models, tmp_path, monkeypatch):
    before = cache_key(models[0])
    source = tmp_path / "architecture.py"
    module = retfm_dist.export.architecture
    source.write_text(Path(module.__file__).read_text() + "# changed")
    monkeypatch.setattr(module, "__file__", str(source))
    assert cache_key(models[0]) != before
