"""The secret salt of the pseudonyms: where it is kept, how it is made, who may read it.

Who has the salt can test patient numbers against a set. Who loses it can never give a patient the
same pseudonym again. So it is kept by the hospital, apart from the sets, and backed up.
"""

import logging
import os
import secrets
import stat
from pathlib import Path

from retfm_dist.errors import CohortError

logger = logging.getLogger(__name__)

SALT_BYTES = 32
_MIN_SALT_CHARACTERS = 32
_LOSS = "without it no later set can give a patient the same pseudonym"


def default_salt_path() -> Path:
    """Return the user's own salt file, the same for all sets: ~/.config/retfm_dist/pseudonym.salt.

    Source: XDG Base Directory Specification 0.8, XDG_CONFIG_HOME.
    """
    home = os.environ.get("XDG_CONFIG_HOME")
    config = Path(home) if home and Path(home).is_absolute() else Path.home() / ".config"
    return config / "retfm_dist" / "pseudonym.salt"


def load_salt(path: Path) -> bytes:
    """Read the secret salt.

    Raises:
        CohortError: The file cannot be read, is readable by others, or is too short.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        salt = path.read_bytes().strip()
    except OSError as error:
        raise CohortError("cannot use the salt file", where=path, got=error.strerror) from error
    if mode & 0o077 and _keeps_modes(path.parent):
        raise CohortError(
            "the salt file is readable by others",
            where=path,
            got=f"mode {mode:04o}",
            expected="0600",
            hint=f"run chmod 600 on it and keep it: {_LOSS}; if others may have read it, they can "
            "test patient numbers against every set made with it",
        )
    if len(salt) < _MIN_SALT_CHARACTERS:
        raise CohortError(
            "the salt is too short to be secret",
            where=path,
            got=f"{len(salt)} characters",
            expected=f"at least {_MIN_SALT_CHARACTERS}",
            hint="restore it from a backup; if it never was a salt, move it aside and a new one "
            "will be made",
        )
    return salt


def make_salt(path: Path) -> bytes:
    """Make a new random salt, readable by its owner alone, and say so; read the one that exists.

    Two processes at once end up with one salt.

    Raises:
        CohortError: The file cannot be made, or the one there cannot be used.
    """
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _create(path)
        except OSError as error:
            raise CohortError(
                "cannot make the salt file", where=path, got=error.strerror
            ) from error
        logger.warning(
            "made a new secret salt, %s: back it up and keep it apart from the sets; %s",
            path.resolve(),
            _LOSS,
        )
    return load_salt(path)


def _create(path: Path) -> None:
    """Write a new salt, unless another process is first."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    _write_new(temporary)
    try:
        try:
            os.link(temporary, path)  # unlike a rename, fails where another salt came first
        except FileExistsError:
            return
        except OSError:
            # Removable and some network file systems have no hard links.
            _write_new(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_new(path: Path) -> None:
    """Write a new salt to a file that must not exist."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_hex(SALT_BYTES).encode("ascii") + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _keeps_modes(directory: Path) -> bool:
    """Whether the file system of a directory keeps who may read a file."""
    probe = directory / f".mode-probe-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError:
        return True  # a directory that cannot be written says nothing; the mode read stands
    try:
        keeps = not stat.S_IMODE(probe.stat().st_mode) & 0o077
    finally:
        probe.unlink(missing_ok=True)
    if not keeps:
        logger.warning("%s keeps no file modes: others may read the salt there", directory)
    return keeps
