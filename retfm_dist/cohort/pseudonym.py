"""Pseudonyms for patients: a keyed hash whose secret salt stays with the hospital.

The same salt gives a patient the same pseudonym in every set, so sets can be kept apart by
patient; without the salt a pseudonym cannot be traced back even by trying all patient numbers.
"""

import hashlib
import hmac

from retfm_dist.errors import CohortError

_PSEUDONYM_CHARACTERS = 12


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
            hint="build with another salt, --salt-file and --new-salt",
        )
    return pseudonyms
