"""Record of the steps that changed no weight, for whoever looks for bad images.

{"step": 1180, "kind": "loss", "ranks": [3], "losses": [0.41, 0.42, 0.4, null], "limit": null,
 "uids": ["0f3c9e5a71b2d846", ...]}

One line a step in anomalies.jsonl; the uids are those of the ranks that are named, or of all.
"""

import logging
import math
from collections.abc import Sequence

import torch

from retfm_dist.ranks.agreement import from_each, from_main
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.logs import append_line
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.stability import Problem
from retfm_dist.train.uid_log import uid_names

logger = logging.getLogger(__name__)


def record_problem(
    problem: Problem, uids: Sequence[torch.Tensor], *, run_dir: RunDir, ranks: Ranks
) -> None:
    """Write what was wrong with a step and which images were in it; all ranks call this.

    Args:
        problem: The step.
        uids: [B] int64 of each of this rank's micro-batches.
        run_dir: The run directory.
        ranks: Which rank this is.

    Raises:
        SystemFailureError: The disk is full or refuses.
    """
    names = [name for batch in uids for name in uid_names(batch)]
    of_each = from_each(names)
    blamed = problem.ranks or range(len(of_each))
    line = {
        "step": problem.step,
        "kind": problem.kind,
        "ranks": list(problem.ranks),
        "losses": [loss if math.isfinite(loss) else None for loss in problem.losses],
        "limit": problem.limit if problem.kind == "spike" else None,
        "uids": [name for rank in blamed for name in of_each[rank]],
    }
    from_main(lambda: append_line(run_dir.anomalies_path, line), ranks=ranks)
    if ranks.is_main:
        logger.warning(
            "step %d changed no weight: %s; its %d images are in %s",
            problem.step, problem.words, len(line["uids"]), run_dir.anomalies_path.name,
        )  # fmt: skip
