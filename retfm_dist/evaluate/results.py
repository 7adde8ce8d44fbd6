"""The output directory of an evaluation: what lies in it, and its replacement as a whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retfm_dist.directories import replaced_directory
from retfm_dist.errors import EvaluateError

CACHE_NAME = "features"
"""Folder of the feature cache; see `encode.cache`."""
_RESULTS = (
    "checklists",
    "config.yaml",
    "environment.json",
    "metrics.json",
    "models.json",
    "overlap.json",
    "pictures",
    "predictions",
    "report.html",
    "report.md",
    "samples.json",
    "tables",
)


def check_is_evaluation(out_dir: Path) -> None:
    """Refuse to write into a directory that holds something other than an evaluation.

    Raises:
        EvaluateError: See above.
    """
    names = {path.name for path in out_dir.iterdir()} if out_dir.is_dir() else set()
    foreign = sorted(name for name in names - {CACHE_NAME, *_RESULTS} if not name.startswith("."))
    if foreign:
        raise EvaluateError(
            "the directory holds something other than an evaluation",
            where=out_dir,
            got=foreign[0],
            hint="choose another --out",
        )


@contextmanager
def new_results(out_dir: Path) -> Iterator[Path]:
    """Yield an empty directory for new results, which replace the old ones on success.

    The exchange is one step: no reader ever sees new metrics beside old predictions. The feature
    cache is kept, and so are hidden files. What fails or is killed inside leaves the old results as
    they are.

    Args:
        out_dir: Output directory of the evaluation.
    """
    hidden = [path.name for path in out_dir.glob(".*")] if out_dir.is_dir() else []
    with replaced_directory(out_dir, keep=[CACHE_NAME, *hidden]) as new_dir:
        yield new_dir
