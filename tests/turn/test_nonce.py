"""Nonces; ids are those of the requirement list."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfu.net.address import Address
from turn.nonce import NONCE_LENGTH, Nonces, SecurityFeature

SECRET = bytes(range(16))
CLIENT = Address("192.0.2.1", 50000)
NOW = 1_800_000_000.5


def test_a3_a_nonce_begins_with_the_cookie_and_the_features() -> None:
    """The bits as erratum 6290 counts them; `AAAC` is what RFC 8489 B.1 has for anonymity alone."""
    for features, encoded in [
        (SecurityFeature(0), b"AAAA"),
        (SecurityFeature.PASSWORD_ALGORITHMS, b"AAAB"),
        (SecurityFeature.USERNAME_ANONYMITY, b"AAAC"),
        (SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY, b"AAAD"),
    ]:
        nonces = Nonces(SECRET)
        nonce = nonces.make(CLIENT, NOW, features)
        assert nonce[:13] == b"obMatJos2" + encoded
        assert len(nonce) == NONCE_LENGTH
        assert nonces.is_valid(nonce, CLIENT, NOW)


def test_a3_features_that_were_changed_on_the_way_are_refused() -> None:
    """So an attacker can't take the password algorithms out of a challenge."""
    nonces = Nonces(SECRET)
    nonce = nonces.make(CLIENT, NOW)
    assert nonce[9:13] == b"AAAB"
    assert not nonces.is_valid(nonce[:9] + b"AAAA" + nonce[13:], CLIENT, NOW)


@pytest.mark.parametrize(
    "other",
    [
        Address("192.0.2.1", 50001),
        Address("192.0.2.2", 50000),
        Address("2001:db8::1", 50000),
    ],
)
def test_a4_a_nonce_is_for_one_address_and_port(other: Address) -> None:
    nonces = Nonces(SECRET)
    nonce = nonces.make(CLIENT, NOW)
    assert nonces.make(other, NOW) != nonce
    assert not nonces.is_valid(nonce, other, NOW)


@given(
    st.lists(
        st.builds(Address, st.ip_addresses().map(str), st.integers(0, 65535)),
        unique=True,
        min_size=2,
        max_size=20,
    )
)
def test_a4_no_two_clients_have_the_same_nonce(clients: list[Address]) -> None:
    nonces = Nonces(SECRET)
    assert len({nonces.make(client, NOW) for client in clients}) == len(clients)


@pytest.mark.parametrize("life_s", [1, 600, 3600])
def test_a11_a_nonce_lives_as_long_as_it_is_set(life_s: int) -> None:
    nonces = Nonces(SECRET, life_s=life_s)
    nonce = nonces.make(CLIENT, NOW)
    assert nonces.is_valid(nonce, CLIENT, NOW + life_s)
    assert not nonces.is_valid(nonce, CLIENT, NOW + life_s + 1)


@pytest.mark.parametrize("life_s", [-1, 0, 3601])
def test_a11_no_nonce_lives_longer_than_an_hour(life_s: int) -> None:
    with pytest.raises(ValueError, match="lives"):
        Nonces(SECRET, life_s=life_s)


def test_a11_a_nonce_is_another_in_the_next_second() -> None:
    nonces = Nonces(SECRET)
    assert nonces.make(CLIENT, NOW) != nonces.make(CLIENT, NOW + 1)


@given(st.integers(1, 40))
def test_a11_a_nonce_does_not_come_back_when_its_16_bits_of_time_do(turns: int) -> None:
    nonces = Nonces(SECRET)
    nonce = nonces.make(CLIENT, NOW)
    assert not nonces.is_valid(nonce, CLIENT, NOW + turns * 65536)
    assert not nonces.is_valid(nonce, CLIENT, NOW - turns * 65536)


def test_a_nonce_from_the_future_is_refused() -> None:
    nonces = Nonces(SECRET)
    assert not nonces.is_valid(nonces.make(CLIENT, NOW + 1), CLIENT, NOW)


@given(st.integers(0, 70_000), st.integers(0, 600))
def test_a_nonce_holds_across_the_wrap_of_its_time(second: int, age_s: int) -> None:
    nonces = Nonces(SECRET)
    made_at = 1_800_000_000 + second
    assert nonces.is_valid(nonces.make(CLIENT, made_at), CLIENT, made_at + age_s)


def test_workers_with_one_secret_take_each_others_nonces_and_no_others() -> None:
    nonce = Nonces(SECRET).make(CLIENT, NOW)
    assert Nonces(SECRET).is_valid(nonce, CLIENT, NOW)
    assert not Nonces(bytes(16)).is_valid(nonce, CLIENT, NOW)


def test_a_secret_of_less_than_128_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        Nonces(bytes(15))


@given(st.binary(max_size=40))
@example(b"")
@example(b"obMatJos2AAAB" + base64.b64encode(bytes(8))[:11])
@example(b"obMatJos2AAAB\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
@example(b"obMatJos2AAAB==========A")
def test_any_other_bytes_are_no_nonce(nonce: bytes) -> None:
    assert not Nonces(SECRET).is_valid(nonce, CLIENT, NOW)


def test_no_changed_bit_passes() -> None:
    """The two bits that base64 has to spare neither."""
    nonces = Nonces(SECRET)
    nonce = nonces.make(CLIENT, NOW)
    for bit in range(len(nonce) * 8):
        changed = bytearray(nonce)
        changed[bit // 8] ^= 1 << bit % 8
        assert not nonces.is_valid(bytes(changed), CLIENT, NOW)
