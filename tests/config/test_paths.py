"""Paths of configs: the home directory and variables in them are replaced, never made as folders."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from retfm_dist.config.paths import ConfigPath, SecretError, StoreAddress


class Holder(BaseModel):
    path: ConfigPath | None


def read(text):
    return Holder.model_validate_json(f'{{"path": "{text}"}}', strict=True).path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~/runs/a", "/home/somebody/runs/a"),
        ("$HOME/runs", "/home/somebody/runs"),
        ("${DATA}/x$DATA", "/data/x/data"),
        ("a/~/b", "a/~/b"),
        ("plain", "plain"),
    ],
)
def test_home_and_variables_are_replaced(monkeypatch, text, expected):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("DATA", "/data")
    assert read(text) == Path(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$NOT_SET_HERE/x", "variable .NOT_SET_HERE is not set"),
        ("${NOT_SET_HERE}/x", "is not set"),
        ("~nobody-of-this-name/x", "no home directory for ~nobody-of-this-name"),
    ],
)
def test_what_cannot_be_replaced_is_refused(text, message):
    with pytest.raises(ValidationError, match=message):
        read(text)


def test_other_values_are_left_to_the_schema():
    assert Holder(path=None).path is None
    with pytest.raises(ValidationError):
        Holder.model_validate_json('{"path": 3}', strict=True)


class Place(BaseModel):
    address: StoreAddress | None


@pytest.mark.parametrize(
    ("text", "expected"), [("s3://bucket/run/", "s3://bucket/run"), ("file:///a", "file:///a")]
)
def test_a_place_in_a_store_has_a_protocol(text, expected):
    assert Place(address=text).address == expected
    assert Place(address=None).address is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/somewhere", "an address of an object store, such as s3://bucket/run"),
        ("s3://user:secret@bucket/run", "must not hold a user name or password"),
    ],
)
def test_other_places_are_refused(text, message):
    with pytest.raises((ValidationError, SecretError), match=message):
        Place(address=text)
