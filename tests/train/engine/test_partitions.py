"""Pieces of flat tensors, as ZeRO leaves them, put together and filled again."""

import pytest
import torch

from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.partitions import MOMENTS, Partitions, Piece, find_partitions

MAIN = Ranks()


def flat_partitions():
    """Parameters "a" [2, 3] and "b" [4] in one flat tensor, with padding between them."""
    flat = torch.nn.Parameter(torch.zeros(16))
    optimizer = torch.optim.AdamW([flat], lr=0.1)
    pieces = {"a": Piece(flat, 2, 0, 6), "b": Piece(flat, 10, 0, 4)}
    shapes = {"a": torch.Size([2, 3]), "b": torch.Size([4])}
    return flat, Partitions(optimizer, shapes, pieces, is_replicated=False)


def test_weights_come_back_bit_for_bit_and_padding_stays():
    flat, partitions = flat_partitions()
    partitions.clear_moments()
    weights = {"a": torch.randn(2, 3), "b": torch.tensor([-0.0, 0.0, 1e-42, 3.0])}
    partitions.set_weights(weights)
    found = {s.name: (s.start, v) for s, v in partitions.owned(MAIN) if s.kind == "weights"}
    for name, tensor in weights.items():
        start, values = found[name]
        assert start == 0
        assert torch.equal(values.view(torch.int32), tensor.view(-1).view(torch.int32)), name
    assert flat[:2].tolist() == [0, 0]
    assert flat[8:10].tolist() == [0, 0]


def test_moments_and_the_count_of_updates_come_back():
    flat, partitions = flat_partitions()
    moments = {key: {"a": torch.randn(2, 3), "b": torch.randn(4)} for key in MOMENTS}
    partitions.set_moments(moments, num_updates=5)
    assert partitions.num_updates() == 5
    assert partitions.optimizer.state[flat]["step"] == 5
    found = {stretch.key: values for stretch, values in partitions.owned(MAIN)}
    for key in MOMENTS:
        for name in ("a", "b"):
            assert torch.equal(found[f"{key}/{name}@0"], moments[key][name].view(-1))
    partitions.clear_moments()
    assert partitions.num_updates() == 0
    assert not partitions.optimizer.state[flat]["exp_avg"].any()


def test_only_the_elements_that_lie_here_are_owned():
    flat, _ = flat_partitions()
    optimizer = torch.optim.AdamW([flat], lr=0.1)
    pieces = {"a": Piece(flat, 0, 4, 2)}
    shapes = {"a": torch.Size([2, 3]), "b": torch.Size([4])}
    partitions = Partitions(optimizer, shapes, pieces, is_replicated=False)
    partitions.clear_moments()
    partitions.set_weights({"a": torch.arange(6.0).view(2, 3)})
    found = {stretch.key: values.tolist() for stretch, values in partitions.owned(MAIN)}
    assert found == {"weights/a@4": [4, 5], "exp_avg/a@4": [0, 0], "exp_avg_sq/a@4": [0, 0]}


@pytest.mark.parametrize("world_size", [1, 2, 3, 5, 8])
def test_without_zero_every_element_is_owned_once(world_size):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    found = find_partitions(model, optimizer=optimizer, zero_optimizer=optimizer, ranks=MAIN)
    found.clear_moments()
    assert found.is_replicated
    whole = {"weight": torch.full((6,), torch.nan), "bias": torch.full((2,), torch.nan)}
    for rank in range(world_size):
        for stretch, values in found.owned(Ranks(rank=rank, world_size=world_size)):
            assert len(values) > 0
            if stretch.kind == "weights":
                place = whole[stretch.name][stretch.start : stretch.start + len(values)]
                assert place.isnan().all()
                place.copy_(values)
    assert torch.equal(whole["weight"], model.weight.detach().view(-1))
    assert torch.equal(whole["bias"], model.bias.detach())


def test_a_frozen_parameter_has_no_piece():
    model = torch.nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    optimizer = torch.optim.AdamW([model.weight], lr=0.1)
    found = find_partitions(model, optimizer=optimizer, zero_optimizer=optimizer, ranks=MAIN)
    assert found.pieces.keys() == {"weight"}
