"""The addresses that clients are told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.net.address import Address
from sfu.net.interfaces import (
    LIMIT,
    AddressError,
    advertised,
    interface_hosts,
    is_loopback,
    parse_advertised,
    shifted,
    usable_hosts,
)

HOSTS = ["127.0.0.1", "::1", "fe80::1", "2001:db8::5", "fd00::5", "192.0.2.5", "10.0.0.5", "169.254.1.1"]


def test_all_addresses_but_loopback_and_link_local_are_told_ipv4_first() -> None:
    assert advertised("", 40000, (), HOSTS) == [
        Address("192.0.2.5", 40000),
        Address("10.0.0.5", 40000),
        Address("2001:db8::5", 40000),
        Address("fd00::5", 40000),
    ]


def test_loopback_is_told_where_there_is_nothing_else() -> None:
    assert usable_hosts(["127.0.0.1", "::1", "fe80::1"]) == ["127.0.0.1", "::1"]
    assert advertised("", 9, (), []) == [Address("127.0.0.1", 9)]


def test_the_address_that_is_listened_on_is_the_one_told() -> None:
    assert advertised("127.0.0.1", 9, (), HOSTS) == [Address("127.0.0.1", 9)]
    assert advertised("2001:db8::5", 9, (), HOSTS) == [Address("2001:db8::5", 9)]


def test_an_ipv4_listener_is_told_by_ipv4_addresses() -> None:
    assert [address.host for address in advertised("0.0.0.0", 9, (), HOSTS)] == ["192.0.2.5", "10.0.0.5"]


def test_what_is_given_goes_before_what_is_found() -> None:
    given_ = ("203.0.113.9", "203.0.113.9:50000", "2001:db8::9", "[2001:db8::9]:50000", "203.0.113.9")
    assert advertised("127.0.0.1", 9, given_, HOSTS) == [
        Address("203.0.113.9", 9),
        Address("203.0.113.9", 50000),
        Address("2001:db8::9", 9),
        Address("2001:db8::9", 50000),
    ]


def test_a_host_of_many_addresses_tells_a_bounded_number() -> None:
    assert len(advertised("", 9, (), [f"10.0.0.{n}" for n in range(1, 200)])) == LIMIT


@pytest.mark.parametrize(
    "text", ["", "sfu.example", "0.0.0.0", "::", "224.0.0.1", "fe80::1%eth0", "[::1", "1.2.3:4"]
)
def test_what_clients_can_not_send_to_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match=r"want a"):
        parse_advertised(text, 9)


@pytest.mark.parametrize(
    "text", ["192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "[2001:db8::1]x", "192.0.2.1:+9"]
)
def test_a_port_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match=r"the port is|want a"):
        parse_advertised(text, 9)


@given(st.text(alphabet="0123456789abcdef.:[]%x", max_size=30))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        address = parse_advertised(text, 9)
    except AddressError:
        return
    shown = f"[{address.host}]" if address.is_ipv6 else address.host
    assert parse_advertised(f"{shown}:{address.port}", 9) == address


def test_this_machine_has_an_address() -> None:
    assert advertised("", 9, ())
    assert usable_hosts(interface_hosts())


def test_only_a_loopback_listener_is_this_machines_alone() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("")
    assert not is_loopback("::")
    assert not is_loopback("192.0.2.1")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("192.0.2.1:40000", "192.0.2.1:40003"),
        ("[2001:db8::1]:40000", "[2001:db8::1]:40003"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "[2001:db8::1]"),
    ],
)
def test_the_port_of_an_address_moves_where_it_names_one(text: str, wanted: str) -> None:
    assert shifted(text, 3) == wanted
    assert shifted(text, 0) == text


def test_no_address_has_a_port_past_the_last() -> None:
    with pytest.raises(AddressError):
        shifted("192.0.2.1:65534", 2)
