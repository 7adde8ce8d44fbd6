"""The output directory of an evaluation: what lies in it, and its replacement as a whole."""

import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from retfm_dist.config.load import config_hash, to_yaml
from retfm_dist.durable import staged_directory, write_json, write_text
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.encode.models import Model
from retfm_dist.versions import software_versions

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
_LIBRARIES = ("numpy", "pillow", "scikit-learn", "timm", "torch")


def describe_evaluation(new_dir: Path, config: EvaluateConfig, models: Sequence[Model]) -> None:
    """Write config.yaml, environment.json and models.json.

    Args:
        new_dir: Where to.
        config: The evaluation.
        models: Its models.
    """
    write_text(new_dir / "config.yaml", to_yaml(config))
    write_json(new_dir / "models.json", [model.describe() for model in models])
    devices = {model.extractor.device.type for model in models}
    write_json(
        new_dir / "environment.json",
        {
            "config_hash": config_hash(config),
            "device": "cuda" if "cuda" in devices else "cpu",
            "python": platform.python_version(),
            "versions": software_versions(*_LIBRARIES),
        },
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
    _replace(out_dir)


def _replace(out_dir: Path) -> None:
    """Put the new results in the place of the old ones; nothing old is left beside them."""
    for name in _RESULTS:
        path = out_dir / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if (new := out_dir / NEW_NAME / name).exists():
            new.rename(path)
    (out_dir / NEW_NAME).rmdir()
