"""TURN keys: tokens that nobody can read back, secrets exchanged without a gap, hostile documents."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turn.credentials import Credentials
from turn.keys import (
    KeysError,
    TurnKey,
    finish_rotation,
    new_key,
    read_keys,
    rotate,
    signing_keys,
    write_keys,
)

NOW = 1_800_000_000.0


def credentials(*keys: TurnKey) -> Credentials:
    return Credentials("orchard", signing_keys(keys))


def first_password(of: Credentials, username: str) -> str:
    credential = of.find(username, NOW)
    assert credential is not None
    return next(of.passwords(credential))


def test_a_key_is_as_long_as_the_published_api_has_it() -> None:
    issued = new_key("mine", NOW)
    assert len(issued.key.id) == 32
    assert len(issued.token) == 64
    assert issued.key.accepts(issued.token)
    assert not issued.key.accepts(issued.token[:-1])
    assert not issued.key.accepts("\ud800")


def test_neither_token_nor_secret_is_shown_by_accident() -> None:
    issued = new_key("mine", NOW)
    assert issued.token not in repr(issued)
    assert issued.key.secrets[0].decode() not in repr(issued)


def test_a_document_keeps_no_token_and_gives_the_keys_back() -> None:
    issued = new_key("mine", NOW)
    keys = {key.id: key for key in (rotate(issued.key).key, new_key("other", NOW + 1).key)}
    document = write_keys(keys)
    assert issued.token.encode() not in document
    assert read_keys(document) == keys
    assert read_keys(None) == {}


def test_credentials_of_the_old_secret_hold_until_the_exchange_is_finished() -> None:
    old = new_key("mine", NOW).key
    minted = credentials(old).mint(old.id, 600, "", NOW)
    exchanged = rotate(old)
    both = credentials(exchanged.key)
    credential = both.find(minted.username, NOW)
    assert credential is not None
    assert minted.password in list(both.passwords(credential))
    assert both.mint(old.id, 600, "", NOW).password != minted.password
    finished = finish_rotation(exchanged.key)
    assert minted.password != first_password(credentials(finished), minted.username)
    assert len(finished.secrets) == 1


def test_tokens_are_exchanged_in_two_steps() -> None:
    first = new_key("mine", NOW)
    second = rotate(first.key)
    assert second.key.accepts(first.token)
    assert second.key.accepts(second.token)
    finished = finish_rotation(second.key)
    assert not finished.accepts(first.token)
    assert finished.accepts(second.token)


def test_a_third_token_ends_the_first() -> None:
    first = new_key("mine", NOW)
    third = rotate(rotate(first.key).key)
    assert not third.key.accepts(first.token)
    assert len(third.key.secrets) == 2


def entry(**changed: object) -> dict[str, Any]:
    key = new_key("mine", NOW).key
    (stored,) = json.loads(write_keys({key.id: key}))["keys"]
    return {**stored, **changed}


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "0" * 31},
        {"id": "G" * 32},
        {"id": 5},
        {"token_sha256": []},
        {"token_sha256": ["00"]},
        {"token_sha256": ["zz" * 32]},
        {"token_sha256": ["00" * 32] * 3},
        {"secrets": []},
        {"secrets": ["short"]},
        {"secrets": ["s" * 32] * 3},
        {"secrets": [5]},
        {"created_at": "now"},
    ],
)
def test_a_wrong_key_is_refused_and_not_repeated(changed: dict[str, object]) -> None:
    stored = entry(**changed)
    with pytest.raises(KeysError) as refused:
        read_keys(json.dumps({"keys": [stored]}).encode())
    for secret in stored["secrets"]:
        assert str(secret) not in str(refused.value)


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_any_bytes_are_keys_or_one_error(document: bytes) -> None:
    with contextlib.suppress(KeysError):
        read_keys(document)
