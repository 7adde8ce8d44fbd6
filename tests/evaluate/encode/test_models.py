import pytest
import torch
from safetensors.torch import save_file

from retfm_dist.errors import EvaluateError, ExportError
from retfm_dist.evaluate.encode.models import build_models, choose_device
from retfm_dist.export.architecture import encoder_state
from retfm_dist.weights import read
from tests.fakes.evaluation import checked, evaluation, mae_state


def test_the_control_is_the_state_that_pre_training_starts_from(models):
    """Its seed alone decides it: another export of the same size has the same control."""
    start = models[1]
    state = start.extractor.encoder.state_dict()
    wanted = mae_state(seed=3)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in state.items())
    assert start.identity != models[0].identity


def test_a_weights_file_is_read_once_for_the_model_and_its_control(root, monkeypatch):
    taken = []

    def count(path):
        taken.append(path)
        return original(path)

    original = read.read_weights_bytes
    monkeypatch.setattr("retfm_dist.export.load.read_weights_bytes", count)
    models = build_models(checked(evaluation(root, compute={"device": "cpu"})))
    assert [model.kind for model in models] == ["export", "random_init", "handcrafted"]
    assert taken == [root / "export" / "model.safetensors"]


def test_a_plain_file_is_judged_once_its_heads_are_given(root, tmp_path):
    save_file(encoder_state(mae_state()), tmp_path / "plain.safetensors")
    values = evaluation(root, compute={"device": "cpu"})
    values["models"][0] |= {"path": str(tmp_path / "plain.safetensors"), "num_heads": 3}
    model = build_models(checked(values))[0]
    assert model.facts["weights"] == "plain.safetensors"
    assert "run" not in model.facts
    del values["models"][0]["num_heads"]
    with pytest.raises(ExportError, match="does not state the number of attention heads"):
        build_models(checked(values))


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
