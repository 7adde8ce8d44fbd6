"""Which salt a new set gets: that of the sets beside it, unless another is asked for."""

import json

import pytest

from retfm_dist.cohort.pseudonym import make_salt_id
from retfm_dist.cohort.salt import make_salt
from retfm_dist.errors import ShardError
from retfm_dist.shard.salting import choose_salt, read_salt_ids


@pytest.fixture(autouse=True)
def _own_configuration(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def add_set(sets, name, salt):
    (sets / name).mkdir(parents=True)
    content = {"build": {"salt_id": make_salt_id(salt)}}
    (sets / name / "manifest.json").write_text(json.dumps(content))


def test_the_first_set_gets_the_users_own_salt_and_the_next_the_same(tmp_path, caplog):
    sets = tmp_path / "sets"
    salt = choose_salt(None, sets / "a", is_new=False)
    assert "made a new secret salt" in caplog.text
    assert (tmp_path / "config" / "retfm_dist" / "pseudonym.salt").exists()
    add_set(sets, "a", salt)
    assert choose_salt(None, sets / "b", is_new=False) == salt
    assert not list(sets.glob("*.salt"))


def test_a_lost_salt_is_not_replaced_in_silence(tmp_path):
    sets = tmp_path / "sets"
    add_set(sets, "old", make_salt(tmp_path / "lost"))
    with pytest.raises(
        ShardError, match="there is no salt here; got salt_id none here, .* in old; .*--new-salt"
    ):
        choose_salt(None, sets / "new", is_new=False)
    with pytest.raises(ShardError, match="there is no salt here"):
        choose_salt(tmp_path / "typo", sets / "new", is_new=False)
    assert not (tmp_path / "typo").exists()
    assert len(choose_salt(tmp_path / "typo", sets / "new", is_new=True)) == 64


def test_another_salt_than_beside_is_refused_unless_asked_for(tmp_path):
    sets = tmp_path / "sets"
    add_set(sets, "old", make_salt(tmp_path / "a"))
    other = make_salt(tmp_path / "b")
    with pytest.raises(
        ShardError, match=f"under another salt; got salt_id {make_salt_id(other)} here, .* in old"
    ):
        choose_salt(tmp_path / "b", sets / "new", is_new=False)
    assert choose_salt(tmp_path / "b", sets / "new", is_new=True) == other


def test_a_salt_inside_the_set_is_refused(tmp_path):
    with pytest.raises(ShardError, match="would lie inside the shard set"):
        choose_salt(tmp_path / "set" / "salt", tmp_path / "set", is_new=False)


def test_other_manifests_beside_are_passed_over(tmp_path):
    for name, text in {"a": "no json", "b": "[]", "c": '{"build": {}}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(text)
    assert read_salt_ids(tmp_path) == {}
