"""Where the shipped configs are: in a checkout, and in an installed wheel."""

from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parents[1]


def config_dir(package_dir: Path = PACKAGE_DIR) -> Path:
    """Return the folder of the shipped configs.

    Args:
        package_dir: The package's own folder.

    Returns:
        `configs` inside an installed package, where the build puts it, else beside the package.
    """
    inside = package_dir / "configs"
    return inside if inside.is_dir() else package_dir.parent / "configs"
