"""Going back to a checkpoint after bad steps in a row, to pass over the window around them.

skips.json is written before anything else changes. A checkpoint that lies beyond the begin of a
window and does not list it was made before: whichever start finds it removes it. So a kill at any
moment leaves either the run before or the run after.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from retfm_dist.config import PretrainConfig
from retfm_dist.errors import TrainError
from retfm_dist.train.checkpoint.folder import list_checkpoints, step_of
from retfm_dist.train.checkpoint.read import read_state
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.skips import Window, read_windows, write_windows
from retfm_dist.train.stability import Problem

logger = logging.getLogger(__name__)


def plan_rollback(
    run_dir: RunDir, config: PretrainConfig, bad: tuple[int, int], *, problem: Problem
) -> None:
    """Add the window around bad steps to those that are passed over; main rank only.

    The window begins `rollback_margin` steps before the first bad one, or at the oldest checkpoint
    where that is later.

    Args:
        run_dir: The run directory.
        config: The run.
        bad: First of the bad steps, and the step after the last.
        problem: The last of them, for messages.

    Raises:
        TrainError: There is no checkpoint to go back to, or it has been done too often.
    """
    windows = read_windows(run_dir.skips_path)
    saved = [step_of(path) for path in list_checkpoints(run_dir.path)]
    num_bad = bad[1] - bad[0]
    what = f"{num_bad} steps in a row changed no weight, at last because {problem.words}"
    if len(windows) >= config.stability.max_rollbacks:
        raise TrainError(
            f"{what}, and the run has gone back {len(windows)} times already",
            where=f"step {problem.step}",
            hint="continue with a lower learning rate (--override optimizer.base_lr=...), in fp32 "
            "(--override engine.precision=fp32), or look at the images in anomalies.jsonl",
        )
    if not saved:
        raise TrainError(
            f"{what}, and there is no checkpoint to go back to",
            where=f"step {problem.step}",
            hint="start with a lower learning rate or in fp32",
        )
    window = Window(max(bad[0] - config.stability.rollback_margin, min(saved)), bad[1])
    write_windows(run_dir.skips_path, [*windows, window])
    logger.warning(
        "%s: going back, and passing over the steps from %d to %d", what, window.begin, window.end
    )


def drop_superseded(run_dir: RunDir, windows: Sequence[Window]) -> None:
    """Remove the checkpoints that rolling back has made obsolete."""
    for directory in list_checkpoints(run_dir.path):
        if is_superseded(directory, windows):
            shutil.rmtree(directory)


def is_superseded(directory: Path, windows: Sequence[Window]) -> bool:
    """Whether rolling back has made a checkpoint obsolete; False where it is damaged."""
    try:
        state = read_state(directory)
        known = {Window(begin, end) for begin, end in state["rolled_back"]}
        return not {window for window in windows if state["step"] > window.begin} <= known
    except (OSError, ValueError, KeyError, TypeError):
        return False
