"""Pseudonyms for patients: a keyed hash whose secret salt stays with the hospital.

The same salt gives a patient the same pseudonym in every set, so sets can be kept apart by
patient; without the salt a pseudonym cannot be traced back even by trying all patient numbers.
"""

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from retfm_dist.errors import CohortError

SALT_BYTES = 32
_MIN_SALT_CHARACTERS = 32
_PSEUDONYM_CHARACTERS = 12


def load_salt(path: Path) -> bytes:
    """Read the secret salt; make a new random one, readable by its owner alone, if missing.

    Raises:
        CohortError: The file cannot be read or made, is readable by others, or is too short.
    """
    try:
        _create_salt(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        salt = path.read_bytes().strip()
    except OSError as error:
        raise CohortError("cannot use the salt file", where=path, got=error.strerror) from error
    if mode & 0o077:
        raise CohortError(
            "the salt file is readable by others",
            where=path,
            got=f"mode {mode:04o}",
            expected="0600",
            hint="run chmod 600 on it; if others may have read it, delete it and build again",
        )
    if len(salt) < _MIN_SALT_CHARACTERS:
        raise CohortError(
            "the salt is too short to be secret",
            where=path,
            got=f"{len(salt)} characters",
            expected=f"at least {_MIN_SALT_CHARACTERS}",
            hint="delete the file and a new one will be made",
        )
    return salt


def _create_salt(path: Path) -> None:
    """Write a new salt unless the file exists; two processes at once end up with one salt."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(SALT_BYTES).encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike a rename, fails where another salt came first
        except FileExistsError:
            return
    finally:
        temporary.unlink(missing_ok=True)


def make_pseudonym(patient_id: str, salt: bytes) -> str:
    """Return the patient's pseudonym, 12 hex digits: HMAC-SHA256 under the salt, shortened.

    Source: RFC 2104; 48 bits keep a cohort of a million patients free of clashes with
    probability 0.998; `assign_pseudonyms` refuses the rest.
    """
    digest = hmac.new(salt, b"patient:" + patient_id.encode("utf-8"), hashlib.sha256)
    return digest.hexdigest()[:_PSEUDONYM_CHARACTERS]


def make_salt_id(salt: bytes) -> str:
    """Return 16 hex digits that name the salt without giving it away.

    Sets with the same salt id have comparable pseudonyms.
    """
    return hmac.new(salt, b"salt-id", hashlib.sha256).hexdigest()[:16]


def assign_pseudonyms(patient_ids: set[str], salt: bytes) -> dict[str, str]:
    """Return the pseudonym of each patient.

    Raises:
        CohortError: Two patients would share a pseudonym.
    """
    pseudonyms = {patient_id: make_pseudonym(patient_id, salt) for patient_id in patient_ids}
    if len(set(pseudonyms.values())) != len(pseudonyms):
        raise CohortError(
            "two patients would get the same pseudonym",
            got=f"{len(pseudonyms)} patients",
            hint="delete the salt file so that another salt is made, then build again",
        )
    return pseudonyms
