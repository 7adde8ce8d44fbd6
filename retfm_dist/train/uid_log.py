"""A log of which images each rank trained on, one line per micro-batch.

{"step": 0, "micro_step": 1, "uids": ["0f3c9e5a71b2d846", ...]}
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from retfm_dist.train.interfaces import Batch


def log_uids(batches: Iterator[Batch], path: Path) -> Iterator[Batch]:
    """Yield `batches` and append the uids of each to a file as it is handed out.

    Args:
        batches: Micro-batches of one rank, in order; closed with this iterator.
        path: The rank's log; made with its directory if missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        close = getattr(batches, "close", None)
        if close is not None:
            stack.callback(close)
        # Line buffered: a killed run has logged every batch that it trained on.
        log = stack.enter_context(path.open("a", encoding="ascii", buffering=1))
        for batch in batches:
            log.write(_line(batch))
            yield batch


def uid_names(uids: torch.Tensor) -> list[str]:
    """Return uids as they are written everywhere, 16 hex digits.

    Args:
        uids: [B] int64, their bits.
    """
    return [f"{uid:016x}" for uid in uids.cpu().numpy().view(np.uint64)]


def _line(batch: Batch) -> str:
    values = {
        "step": batch.step,
        "micro_step": batch.micro_step,
        "uids": uid_names(batch.uids),
    }
    return json.dumps(values) + "\n"
