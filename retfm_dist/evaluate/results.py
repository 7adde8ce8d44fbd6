"""The output directory of an evaluation: what lies in it, and its replacement as a whole."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retfm_dist.durable import staged_directory
from retfm_dist.errors import EvaluateError

CACHE_NAME = "features"
"""Folder of the feature cache; see `encode.cache`."""
NEW_NAME = ".new"
"""Folder that new results are written to before they replace the old."""
_RESULTS = (
    "config.yaml",
    "environment.json",
    "metrics.json",
    "models.json",
    "pictures",
    "predictions",
    "report.html",
    "report.md",
    "samples.json",
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

    What fails or is killed inside leaves the old results as they are.

    Args:
        out_dir: Output directory of the evaluation.
    """
    shutil.rmtree(out_dir / NEW_NAME, ignore_errors=True)
    with staged_directory(out_dir / NEW_NAME) as new_dir:
        yield new_dir
    # Nothing old is left beside the new.
    for name in _RESULTS:
        path = out_dir / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if (new := out_dir / NEW_NAME / name).exists():
            new.rename(path)
    (out_dir / NEW_NAME).rmdir()
