"""Pieces of flat tensors, as ZeRO leaves them, put together and filled again."""

import torch

from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.partitions import MOMENTS, Partitions, Piece, find_partitions

MAIN = Ranks()
CPU = torch.device("cpu")


def flat_partitions():
    """Parameters "a" [2, 3] and "b" [4] in one flat tensor, with padding between them."""
    flat = torch.nn.Parameter(torch.zeros(16))
    optimizer = torch.optim.AdamW([flat], lr=0.1)
    pieces = {"a": Piece(flat, 2, 0, 6), "b": Piece(flat, 10, 0, 4)}
    shapes = {"a": torch.Size([2, 3]), "b": torch.Size([4])}
    return flat, Partitions(optimizer, shapes, pieces, is_replicated=False, device=CPU)


def test_weights_come_back_bit_for_bit_and_padding_stays():
    flat, partitions = flat_partitions()
    weights = {"a": torch.randn(2, 3), "b": torch.tensor([-0.0, 0.0, 1e-42, 3.0])}
    partitions.set_weights(weights)
    found = partitions.gather(None, ranks=MAIN)
    for name, tensor in weights.items():
        assert torch.equal(found[name].view(torch.int32), tensor.view(torch.int32)), name
    assert flat[:2].tolist() == [0, 0]
    assert flat[8:10].tolist() == [0, 0]


def test_moments_and_the_count_of_updates_come_back():
    flat, partitions = flat_partitions()
    moments = {key: {"a": torch.randn(2, 3), "b": torch.randn(4)} for key in MOMENTS}
    partitions.set_moments(moments, num_updates=5)
    assert partitions.num_updates() == 5
    assert partitions.optimizer.state[flat]["step"] == 5
    for key in MOMENTS:
        found = partitions.gather(key, ranks=MAIN)
        assert all(torch.equal(found[name], moments[key][name]) for name in ("a", "b"))


def test_only_the_main_rank_gets_the_tensors():
    _, partitions = flat_partitions()
    assert partitions.gather(None, ranks=Ranks(rank=1, world_size=1)) == {}


def test_a_parameter_that_lies_elsewhere_is_zero_here():
    """Its owner adds the bits: the sum over all ranks is the parameter."""
    flat, _ = flat_partitions()
    optimizer = torch.optim.AdamW([flat], lr=0.1)
    pieces = {"a": Piece(flat, 0, 4, 2)}
    shapes = {"a": torch.Size([2, 3]), "b": torch.Size([4])}
    partitions = Partitions(optimizer, shapes, pieces, is_replicated=False, device=CPU)
    partitions.set_weights({"a": torch.arange(6.0).view(2, 3)})
    found = partitions.gather(None, ranks=MAIN)
    assert found["a"].tolist() == [[0, 0, 0], [0, 4, 5]]
    assert found["b"].tolist() == [0, 0, 0, 0]


def test_without_zero_every_parameter_is_its_own_piece():
    model = torch.nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    optimizer = torch.optim.AdamW([model.weight], lr=0.1)
    found = find_partitions(
        model, optimizer=optimizer, zero_optimizer=optimizer, ranks=MAIN, device=CPU
    )
    assert found.is_replicated
    assert found.pieces.keys() == {"weight"}
    gathered = found.gather(None, ranks=MAIN)["weight"]
    assert torch.equal(gathered, model.weight)
    assert gathered.data_ptr() != model.weight.data_ptr(), "a copy, or training would change it"
