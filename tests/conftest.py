"""Order of the suite, and which tests of it a machine without a GPU skips."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from retfm_dist.rng import streams
from tests.fakes.leftovers import ending_what_it_starts


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of slow tests first, so that no worker is left with one at the end."""
    num_slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -num_slow[item.path])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `gpu` where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU")


@pytest.fixture(autouse=True)
def _no_process_outlives_its_test() -> Iterator[None]:
    with ending_what_it_starts():
        yield


@pytest.fixture
def compile_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Compile the noise with another back end than inductor, whose kernels take half a minute."""

    def use(backend: str) -> None:
        streams._compiled_noise.cache_clear()
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))

    yield use
    streams._compiled_noise.cache_clear()
