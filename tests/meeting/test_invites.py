"""Keys and tokens: made with a secret, known again with the same one, and with no other."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeting.invites import Invites
from meeting.messages import Join
from meeting.rooms import Claim

INVITES = Invites(b"secret", token_life_s=100.0)
OTHERS = Invites(b"another", token_life_s=100.0)
CLAIM = Claim("abcdefghijklmnop", "0123456789abcdef", True, 1000.125)


def test_a_rooms_keys_open_it_on_every_node_with_the_secret() -> None:
    made = INVITES.make()
    elsewhere = Invites(b"secret", token_life_s=1.0)
    assert elsewhere.opens(made.room, made.key)
    assert elsewhere.makes_host(made.room, made.host_key)


def test_no_other_key_does() -> None:
    made, other = INVITES.make(), INVITES.make()
    for key in (None, "", other.key, made.host_key, made.key[:-1], made.key + "A", "\u00e9"):
        assert not INVITES.opens(made.room, key)
    assert not INVITES.makes_host(made.room, made.key)
    assert not OTHERS.opens(made.room, made.key)


def test_rooms_are_not_met_by_chance() -> None:
    made = [INVITES.make() for _ in range(100)]
    assert len({one.room for one in made}) == len({one.key for one in made}) == 100


def test_what_is_made_fits_the_messages() -> None:
    made = INVITES.make()
    token = INVITES.token(CLAIM)
    assert Join(version=1, room=made.room, name="A", key=made.key, host_key=made.host_key, token=token)


def test_a_token_proves_what_it_was_made_for() -> None:
    assert INVITES.claim(INVITES.token(CLAIM), 1001.0) == CLAIM


def test_a_token_ends() -> None:
    token = INVITES.token(CLAIM)
    assert INVITES.claim(token, 1100.0) == CLAIM
    assert INVITES.claim(token, 1100.125) is None


def test_a_token_that_was_changed_proves_nothing() -> None:
    token = INVITES.token(CLAIM)
    body, _, signature = token.partition(".")
    forged = (
        base64.urlsafe_b64encode(b'["abcdefghijklmnop","ffffffffffffffff",true,1000]').decode().rstrip("=")
    )
    for wrong in (
        None,
        "",
        ".",
        body,
        body + ".",
        f"{forged}.{signature}",
        token + "A",
        "é.é",
        f".{signature}",
    ):
        assert INVITES.claim(wrong, 1001.0) is None
    assert INVITES.claim(OTHERS.token(CLAIM), 1001.0) is None


def test_a_rooms_key_signs_no_token() -> None:
    made = INVITES.make()
    assert INVITES.claim(f"{made.room}.{made.key}", 1.0) is None


@given(st.text(max_size=60))
def test_any_text_is_a_token_or_none(text: str) -> None:
    assert INVITES.claim(text, 1.0) is None


@pytest.mark.parametrize("room", ["abcdefghijklmnop", "ABC", "", "é"])
def test_keys_belong_to_one_room(room: str) -> None:
    assert not INVITES.opens(room, INVITES.make().key)
