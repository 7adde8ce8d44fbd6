import torch

from retfm_dist.weights.compare import describe_mismatch, shapes_of


def test_equal_names_and_shapes_are_no_mismatch():
    shapes = shapes_of({"a": torch.zeros(2, 3), "b": torch.zeros(())})
    assert shapes == {"a": (2, 3), "b": ()}
    assert describe_mismatch(shapes, dict(reversed(shapes.items()))) == ""


def test_every_kind_of_difference_is_named():
    found = {"a": (1,), "c": (4,)}
    expected = {"a": (2,), "b": (3,)}
    assert describe_mismatch(found, expected) == (
        "1 missing: b; 1 unexpected: c; 1 of another shape: a (1,) instead of (2,)"
    )


def test_long_lists_are_cut():
    expected = {f"block.{i}": (1,) for i in range(9)}
    assert describe_mismatch({}, expected) == (
        "9 missing: block.0, block.1, block.2, block.3 and 5 more"
    )
