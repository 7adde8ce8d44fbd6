"""Versions of installed software, recorded with runs, exports and evaluations."""

import importlib.metadata
import sys

import retfm_dist

DALI = ("nvidia-dali-cuda130", "nvidia-dali-cuda120", "nvidia-dali-cuda110")
"""Distributions of DALI, of which one is installed."""


def software_versions(*distributions: str) -> dict[str, str]:
    """Return the versions of the distributions that are installed, and of retfm_dist.

    Args:
        distributions: Names as in `pip install`; those that are not installed are left out.
    """
    found = {name: _version(name) for name in distributions}
    versions = {name: version for name, version in found.items() if version is not None}
    return versions | {"retfm_dist": retfm_dist.__version__}


def _version(distribution: str) -> str | None:
    # An imported torch says which CUDA it was built for; the metadata do not.
    if distribution == "torch" and "torch" in sys.modules:
        return str(sys.modules["torch"].__version__)
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
