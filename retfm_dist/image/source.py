"""Open the files that a table names: regular files below their root, and nothing else.

An archive of thirty years holds pipes, devices, links out of the archive, and names that a table
spells otherwise than the disk does. Messages never name a file.
"""

import errno
import os
import stat
import unicodedata
from functools import lru_cache
from pathlib import Path, PureWindowsPath

from retfm_dist.errors import ImageError

MAX_SOURCE_BYTES = 1 << 29
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})


def find_source(root: Path, name: str, *, is_confined: bool = True) -> Path:
    """Return the file that a table's path names.

    Backslashes are taken for slashes, and names in another Unicode form found, where the path as
    it stands names nothing: both are the same name as written by another system.

    Args:
        root: Directory that the path is relative to.
        name: Path as the table spells it.
        is_confined: Whether it must lie below `root`, with links followed.

    Raises:
        ImageError: There is no such file, or it lies outside `root`; the reason tells what there
            is instead: another case, a suffix.
    """
    if "\0" in name:
        raise ImageError("the name holds a NUL character")
    if is_confined:
        _check_relative(name)
    spellings = dict.fromkeys([name, name.replace("\\", "/")])
    forms = [unicodedata.normalize(form, text) for text in spellings for form in ("NFC", "NFD")]
    for spelling in [*spellings, *forms]:
        if _exists(root / spelling):
            return _below(root, root / spelling) if is_confined else root / spelling
    raise ImageError("no such file" + _what_is_there(root / name.replace("\\", "/")))


def _check_relative(name: str) -> None:
    """Refuse a path that leads out of its root by itself."""
    if PureWindowsPath(name).drive or name.startswith(("/", "\\")):
        raise ImageError("the path is absolute, not relative to the image directory")
    if ".." in name.replace("\\", "/").split("/"):
        raise ImageError("the path leaves the image directory by ..")


def read_source(path: Path, *, max_bytes: int = MAX_SOURCE_BYTES) -> tuple[bytes, os.stat_result]:
    """Read a regular file whole.

    Args:
        path: The file; a link is followed.
        max_bytes: Largest size accepted.

    Returns:
        Its bytes, and what the system says of it.

    Raises:
        ImageError: It is a pipe, a device, a directory or too large.
        OSError: The system refuses it.
    """
    # Opening a pipe would wait for a writer, hence O_NONBLOCK; regular files ignore it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise ImageError(f"not a regular file but {_kind(facts.st_mode)}")
        if facts.st_size > max_bytes:
            raise ImageError(f"the file is implausibly large, {facts.st_size} bytes")
        # A file may grow while it is read, and some of /proc have no size.
        data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise ImageError(f"the file is implausibly large, over {max_bytes} bytes")
        return data, facts


def _exists(path: Path) -> bool:
    """Whether something has this name, be it a link that leads nowhere."""
    try:
        path.lstat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise ImageError(_reason(error)) from error
    except ValueError as error:  # a name that the file system's encoding cannot hold
        raise ImageError("the name cannot be a file name") from error
    return True


def _below(root: Path, path: Path) -> Path:
    """Return the resolved path; links may lead anywhere below the root."""
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = _reason(error) if isinstance(error, OSError) else "a circle"
        raise ImageError(f"a link that leads to no file: {reason}") from error
    if not resolved.is_relative_to(_resolved(root)):
        raise ImageError("a link leads out of the image directory")
    return resolved


@lru_cache(maxsize=8)
def _resolved(root: Path) -> Path:
    return root.resolve()


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _kind(mode: int) -> str:
    names = {
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFDIR: "a directory",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return names.get(stat.S_IFMT(mode), "something else")


def _what_is_there(path: Path) -> str:
    """Return what in the same directory has nearly the name, without naming it."""
    names = _folded_names(path.parent)
    folded = _fold(path.name)
    if folded in names:
        return "; there is one whose name differs in letter case"
    images = [Path(name) for name in names if Path(name).suffix in IMAGE_SUFFIXES]
    stems = {image.stem: image.suffix for image in images}
    if folded in stems:
        return f"; there is one with the suffix {stems[folded]}"
    stem = _fold(path.stem)
    if path.suffix and stem in stems:
        return f"; there is one with the suffix {stems[stem]} instead"
    return "" if names else "; its directory does not exist or is empty"


@lru_cache(maxsize=4)
def _folded_names(directory: Path) -> frozenset[str]:
    """Return the names in a directory, folded; a table spells many of its files alike."""
    try:
        return frozenset(_fold(path.name) for path in directory.iterdir())
    except (OSError, ValueError):
        return frozenset()


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
