"""Pseudonyms: stable under a salt, useless without it, and the salt guarded."""

import pytest

from retfm_dist.cohort import pseudonym
from retfm_dist.cohort.pseudonym import assign_pseudonyms, make_pseudonym, make_salt_id
from retfm_dist.errors import CohortError

SALT = b"0123456789abcdef0123456789abcdef"


def test_pseudonyms_are_pinned():
    # printf 'patient:hrf_01' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
    assert make_pseudonym("hrf_01", SALT) == "73cb66f4174f"
    assert make_salt_id(SALT) == "940a2b87b736a32b"


def test_pseudonyms_depend_on_patient_and_salt():
    pseudonyms = assign_pseudonyms({f"p{number}" for number in range(1000)}, SALT)
    assert len(set(pseudonyms.values())) == 1000
    assert all(len(value) == 12 and int(value, 16) >= 0 for value in pseudonyms.values())
    assert make_pseudonym("p1", SALT) == pseudonyms["p1"]
    assert make_pseudonym("p1", SALT[::-1]) != pseudonyms["p1"]


def test_a_clash_of_pseudonyms_is_refused(monkeypatch):
    monkeypatch.setattr(pseudonym, "make_pseudonym", lambda patient_id, salt: "same")
    with pytest.raises(CohortError, match="two patients would get the same pseudonym"):
        assign_pseudonyms({"a", "b"}, SALT)
