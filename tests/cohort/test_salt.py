"""The salt: made once and loudly, private, and never lost to a file system's limits."""

import errno
import stat

import pytest

from retfm_dist.cohort import salt as salt_module
from retfm_dist.cohort.salt import default_salt_path, load_salt, make_salt
from retfm_dist.errors import CohortError

SALT = b"0123456789abcdef0123456789abcdef"


def test_a_missing_salt_is_made_private_and_kept(tmp_path):
    path = tmp_path / "new" / "salt"
    salt = make_salt(path)
    assert len(salt) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_salt(path) == salt
    assert [entry.name for entry in path.parent.iterdir()] == ["salt"]


def test_two_salts_differ(tmp_path):
    assert make_salt(tmp_path / "a") != make_salt(tmp_path / "b")


def test_a_salt_made_meanwhile_by_another_process_wins(tmp_path, monkeypatch):
    path = tmp_path / "salt"
    link = salt_module.os.link

    def late_link(source, target):
        path.write_bytes(SALT)
        path.chmod(0o600)
        link(source, target)

    monkeypatch.setattr(salt_module.os, "link", late_link)
    assert make_salt(path) == SALT


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


def test_making_a_salt_is_said_loudly_and_reading_one_is_not(tmp_path, caplog):
    make_salt(tmp_path / "salt")
    (record,) = caplog.records
    assert "made a new secret salt" in record.getMessage()
    assert str(tmp_path / "salt") in record.getMessage()
    make_salt(tmp_path / "salt")
    assert len(caplog.records) == 1
    assert load_salt(tmp_path / "salt").decode() not in caplog.text


def test_a_missing_salt_is_not_made_by_reading(tmp_path):
    with pytest.raises(CohortError, match="cannot use the salt file; got No such file"):
        load_salt(tmp_path / "salt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS])
def test_a_file_system_without_hard_links_gets_its_salt(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, "no links here")

    monkeypatch.setattr(salt_module.os, "link", refuse)
    assert len(make_salt(tmp_path / "salt")) == 64
    assert [path.name for path in tmp_path.iterdir()] == ["salt"]


def test_a_file_system_without_modes_is_warned_of_and_used(tmp_path, monkeypatch, caplog):
    path = tmp_path / "salt"
    path.write_bytes(SALT)
    path.chmod(0o755)
    monkeypatch.setattr(salt_module, "_keeps_modes", lambda directory: False)
    assert load_salt(path) == SALT
    monkeypatch.undo()
    real_open = salt_module.os.open
    monkeypatch.setattr(
        salt_module.os, "open", lambda name, flags, mode=0o777: real_open(name, flags, 0o755)
    )
    assert not salt_module._keeps_modes(tmp_path)
    assert "keeps no file modes" in caplog.text
    assert [entry.name for entry in tmp_path.iterdir()] == ["salt"]


def test_the_hint_for_a_readable_salt_says_what_is_lost_without_it(tmp_path):
    path = tmp_path / "salt"
    path.write_bytes(SALT)
    path.chmod(0o644)
    with pytest.raises(
        CohortError, match="chmod 600 on it and keep it: without it no later set"
    ) as caught:
        load_salt(path)
    assert "delete" not in str(caught.value)


def test_the_users_own_salt_lies_with_the_configuration(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_salt_path() == tmp_path / "retfm_dist" / "pseudonym.salt"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(default_salt_path()) == "/home/somebody/.config/retfm_dist/pseudonym.salt"
