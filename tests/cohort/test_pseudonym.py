"""Pseudonyms: stable under a salt, useless without it, and the salt guarded."""

import stat

import pytest

from retfm_dist.cohort import pseudonym
from retfm_dist.cohort.pseudonym import assign_pseudonyms, load_salt, make_pseudonym, make_salt_id
from retfm_dist.errors import CohortError

SALT = b"0123456789abcdef0123456789abcdef"


def test_a_missing_salt_is_made_private_and_kept(tmp_path):
    path = tmp_path / "new" / "salt"
    salt = load_salt(path)
    assert len(salt) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_salt(path) == salt
    assert [entry.name for entry in path.parent.iterdir()] == ["salt"]


def test_two_salts_differ(tmp_path):
    assert load_salt(tmp_path / "a") != load_salt(tmp_path / "b")


def test_a_salt_made_meanwhile_by_another_process_wins(tmp_path, monkeypatch):
    path = tmp_path / "salt"
    link = pseudonym.os.link

    def late_link(source, target):
        path.write_bytes(SALT)
        path.chmod(0o600)
        link(source, target)

    monkeypatch.setattr(pseudonym.os, "link", late_link)
    assert load_salt(path) == SALT


def test_a_salt_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "salt"
    path.write_bytes(SALT)
    path.chmod(0o640)
    with pytest.raises(CohortError, match="readable by others; got mode 0640, expected 0600"):
        load_salt(path)


def test_a_short_salt_is_refused(tmp_path):
    path = tmp_path / "salt"
    path.write_bytes(b"secret\n")
    path.chmod(0o600)
    with pytest.raises(CohortError, match="too short to be secret; got 6 characters"):
        load_salt(path)


def test_a_salt_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(CohortError, match="cannot use the salt file"):
        load_salt(tmp_path)


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
