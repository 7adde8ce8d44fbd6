import os
import warnings
from collections.abc import Iterator

import pytest
import torch

# DeepSpeed would take a GPU where there is one; these tests compare bits on the CPU.
os.environ["DS_ACCELERATOR"] = "cpu"


@pytest.fixture(scope="module")
def device() -> Iterator[torch.device]:
    """The CPU, with this process as the only rank of a process group."""
    from retfm_dist.ranks.world import Ranks
    from retfm_dist.train.engine.process_group import start_ranks, stop_ranks

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Whatever importing deepspeed has to say.
        yield start_ranks(Ranks(), timeout_s=300)
    stop_ranks()
