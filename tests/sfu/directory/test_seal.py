from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.directory.interface import Unavailable
from sfu.directory.seal import NewerFormat, Sealer, Unreadable

SECRET = b"s" * 32
SEALER = Sealer(SECRET)


def seal(value: bytes = b"value", version: int = 7) -> bytes:
    return SEALER.seal("session", "a", value, form=1, version=version)


def open_(sealed: bytes, *, name: str = "a", version: int = 7) -> bytes:
    return SEALER.open("session", name, sealed, form=1, version=version)


@given(st.binary(max_size=300), st.integers(0, 2**62))
def test_what_was_sealed_opens_again(value: bytes, version: int) -> None:
    assert open_(seal(value, version), version=version) == value


def test_nothing_of_the_value_or_the_secret_is_in_what_is_stored() -> None:
    sealed = seal(b"k" * 40)
    assert b"kkk" not in sealed
    assert b"sss" not in sealed + SEALER.check
    assert seal(b"k" * 40)[15:] != sealed[15:]  # nor that it is the same as before


def test_a_value_in_the_place_of_another_does_not_open() -> None:
    with pytest.raises(Unreadable, match="session b: not sealed with this"):
        open_(seal(), name="b")
    with pytest.raises(Unreadable, match="app a: not sealed with this"):
        SEALER.open("app", "a", seal(), form=1, version=7)


def test_an_old_value_in_the_place_of_a_newer_one_does_not_open() -> None:
    with pytest.raises(Unreadable, match="altered"):
        open_(seal(version=6), version=7)


@given(st.integers(0, 35), st.integers(1, 255))
def test_any_change_is_noticed(place: int, change: int) -> None:
    sealed = bytearray(seal())
    sealed[place] ^= change
    with pytest.raises(Unreadable):
        open_(bytes(sealed))


@given(st.binary(max_size=100))
def test_what_others_keep_there_is_refused_and_not_shown(value: bytes) -> None:
    with pytest.raises(Unavailable) as refused:
        open_(value)
    assert len(str(refused.value)) < 120


def test_another_secret_opens_nothing_and_is_told_apart() -> None:
    other = Sealer(b"t" * 32)
    assert not other.is_of_this_secret(SEALER.check)
    assert Sealer(SECRET).is_of_this_secret(SEALER.check)
    with pytest.raises(Unreadable):
        other.open("session", "a", seal(), form=1, version=7)


def test_a_value_of_a_newer_version_is_refused_by_that_word() -> None:
    newer = SEALER.seal("session", "a", b"value", form=2, version=7)
    with pytest.raises(NewerFormat, match=r"newer Orchard \(format 2, this one knows up to 1\); upgrade"):
        open_(newer)
    assert SEALER.open("session", "a", seal(), form=2, version=7) == b"value"  # an older one is read
