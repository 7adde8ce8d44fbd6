import pytest
import torch
from safetensors.torch import load_file

from retfm_dist.errors import DamagedCheckpointError
from retfm_dist.train.checkpoint.folder import read_weights
from retfm_dist.train.checkpoint.layout import Stretch
from retfm_dist.train.checkpoint.read import AssembledTensors, open_checkpoint
from retfm_dist.train.checkpoint.verify import verify_checkpoint
from tests.fakes.checkpoints import write


@pytest.mark.parametrize("world_size", [1, 2, 3, 20])
def test_what_any_number_of_ranks_wrote_is_read_back_bit_for_bit(tmp_path, world_size):
    directory, weights, moments = write(tmp_path, 7, world_size=world_size)
    parts = {f"rank_{rank:04d}.safetensors" for rank in range(world_size)}
    assert {path.name for path in directory.iterdir()} == parts | {"state.json", "manifest.json"}
    verify_checkpoint(directory)
    checkpoint = open_checkpoint(directory)
    assert dict(checkpoint.weights).keys() == weights.keys()
    assert len(checkpoint.weights) == 2
    for name, tensor in weights.items():
        assert torch.equal(checkpoint.weights[name], tensor)
    for key, part in moments.items():
        assert dict(checkpoint.moments[key]).keys() == part.keys()
        assert torch.equal(checkpoint.moments[key]["a.weight"], part["a.weight"])
    with pytest.raises(KeyError):
        checkpoint.moments["exp_avg"]["table"]
    read, state = read_weights(directory)
    assert read.keys() == weights.keys()
    assert state["step"] == 7


def test_a_part_is_an_ordinary_safetensors_file(tmp_path):
    directory, weights, _ = write(tmp_path, 7, world_size=2)
    found = load_file(directory / "rank_0001.safetensors")
    assert torch.equal(found["weights/a.weight@7"], weights["a.weight"].view(-1)[7:])


@pytest.mark.parametrize("starts", [[0, 3], [0, 1], [1], [0, 2, 4], []])
def test_pieces_that_do_not_make_up_a_tensor_are_refused(tmp_path, starts):
    class File:
        def get_tensor(self, key):
            return torch.ones(2)

    parts = [(File(), Stretch("weights", "a", start)) for start in starts]
    tensors = AssembledTensors(parts, {"a": [2, 2]}, where=tmp_path)
    if starts:
        with pytest.raises(DamagedCheckpointError, match="the pieces of a do not make it up"):
            tensors["a"]
    else:
        assert "a" not in tensors
    whole = [(File(), Stretch("weights", "a", start)) for start in (2, 0)]
    assert AssembledTensors(whole, {"a": [2, 2]}, where=tmp_path)["a"].shape == (2, 2)
