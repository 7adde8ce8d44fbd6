import argparse
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from retfm_dist.durable import sha256_file
from retfm_dist.errors import ModelError
from retfm_dist.weights.read import read_weights_file

WEIGHTS = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}


@pytest.mark.parametrize(
    ("name", "content", "num_heads"),
    [
        ("x.pth", WEIGHTS, None),
        ("x.pth", {"model": WEIGHTS}, None),
        ("x.pth", {"model": WEIGHTS, "num_heads": 3}, 3),
        ("x.pth", {"model": WEIGHTS, "num_heads": 0}, None),
        ("x.pth", {"model": WEIGHTS, "args": argparse.Namespace(model="mae_vit_large_patch16")}, 16),
        ("x.pth", {"model": WEIGHTS, "args": argparse.Namespace(model="something_else")}, None),
        ("x.pth", {"model": WEIGHTS, "args": argparse.Namespace(lr=1)}, None),
    ],
)  # fmt: skip
def test_published_forms_are_read_with_the_heads_they_state(tmp_path, name, content, num_heads):
    torch.save(content, tmp_path / name)
    found = read_weights_file(tmp_path / name)
    assert found.tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(found.tensors[key], WEIGHTS[key]) for key in WEIGHTS)
    assert found.num_heads == num_heads
    assert found.sha256 == sha256_file(tmp_path / name)


@pytest.mark.parametrize(
    ("metadata", "num_heads"),
    [
        (None, None),
        ({"num_heads": "12"}, 12),
        ({"num_heads": "0"}, None),
        ({"num_heads": "?"}, None),
    ],
)
def test_safetensors_state_heads_in_their_metadata(tmp_path, metadata, num_heads):
    save_file(WEIGHTS, tmp_path / "x.safetensors", metadata=metadata)
    found = read_weights_file(tmp_path / "x.safetensors")
    assert torch.equal(found.tensors["a"], WEIGHTS["a"])
    assert found.num_heads == num_heads


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"absent\.pth: no such weights file; .*init_from=null"):
        read_weights_file(tmp_path / "absent.pth")


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_a_damaged_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(ModelError, match="cannot read the weights|pickle is damaged") as caught:
        read_weights_file(tmp_path / name)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the weights file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page, not weights"),
        (b"\n <HTML>404</HTML>", "a web page, not weights"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "a web page, not weights"),
    ],
)  # fmt: skip
def test_what_is_downloaded_instead_of_weights_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name}: {message}"):
        read_weights_file(tmp_path / name)


class Payload:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_code_in_a_pickle_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Payload()}, tmp_path / "x.pth")
    (tmp_path / "y.pth").write_bytes(pickle.dumps(Payload(), protocol=2))
    (tmp_path / "z.pth").write_bytes(pickle.dumps(Payload(), protocol=4))
    for name in ("x.pth", "y.pth", "z.pth"):
        with pytest.raises(ModelError, match="objects other than tensors.*never run") as caught:
            read_weights_file(tmp_path / name)
        assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[1, 2], {"model": 3}, {"a": 1}])
def test_a_file_without_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ModelError, match="no state dict in this file"):
        read_weights_file(tmp_path / "x.pth")
