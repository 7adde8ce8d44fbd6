"""Decisions that all ranks take together.

Everything works without a process group: a single process is rank 0 of a world of 1.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed

from retfm_dist.errors import RetfmError, system_failure
from retfm_dist.ranks.world import Ranks

Value = TypeVar("Value")


def from_each(value: Value) -> list[Value]:
    """Return the values that the ranks give, in their order, the same on all."""
    if not has_group():
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def has_group() -> bool:
    """Whether a process group has been set up."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _is_alone() -> bool:
    return not has_group() or torch.distributed.get_world_size() == 1


def gather_each(values: torch.Tensor) -> torch.Tensor:
    """Return the values that the ranks give, the same on all, without a host wait.

    Args:
        values: [...] on the device that the group communicates on.

    Returns:
        [world_size, ...] in the order of ranks.
    """
    if _is_alone():
        return values[None]
    of_each = [torch.empty_like(values) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(of_each, values)
    return torch.stack(of_each)


def highest(values: Sequence[int]) -> list[int]:
    """Return the highest of what the ranks give, at each place, the same on all.

    Args:
        values: This rank's; as many on every rank.
    """
    return highest_later(lambda: values)()


def highest_later(own: Callable[[], Sequence[int]]) -> Callable[[], list[int]]:
    """Begin to find the highest of what the ranks give, at each place, and go on meanwhile.

    The answer travels between hosts and waits for no device.

    Args:
        own: Returns this rank's values, as many on every rank. It is called now, or, where there
            is one rank alone, with the answer.

    Returns:
        Called once, it gives the answer, the same on all ranks.
    """
    if _is_alone():
        return lambda: [int(value) for value in own()]
    found = torch.tensor(own())
    work = torch.distributed.all_reduce(found, op=torch.distributed.ReduceOp.MAX, async_op=True)
    assert work is not None

    def answer() -> list[int]:
        work.wait()
        return found.tolist()

    return answer


def from_main(compute: Callable[[], Value], *, ranks: Ranks) -> Value:
    """Call `compute` on the main rank alone and give its result to all ranks.

    Args:
        compute: Returns a plain value (numbers, text, paths, lists, dicts, None).
        ranks: Which rank this is.

    Raises:
        RetfmError: `compute` raised it, or the operating system refused it something; then every
            rank raises the same.
    """
    answer: list[Any] = [None, None]
    if ranks.is_main:
        try:
            answer[0] = compute()
        except RetfmError as error:
            answer[1] = error
        except OSError as error:
            answer[1] = system_failure(error)
    if has_group() and ranks.world_size > 1:
        torch.distributed.broadcast_object_list(answer, src=0)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]
