"""Addresses as bytes and as literals, against the standard library's."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.net.address import (
    PATH_LENGTH,
    Address,
    local_host,
    make_path,
    packed_host,
    remote_address,
    unpacked_host,
)

ADDRESSES = st.ip_addresses()


@given(ADDRESSES)
def test_a_literal_and_its_bytes_are_each_others(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert packed_host(str(address)) == address.packed
    assert unpacked_host(address.packed) == str(address)


@given(st.text() | st.text("0123456789abcdef.:%x", max_size=24))
def test_what_is_no_literal_for_the_standard_library_is_none_here(text: str) -> None:
    try:
        packed = ipaddress.ip_address(text).packed
    except ValueError:
        with pytest.raises(ValueError, match=r".*"):
            packed_host(text)
    else:
        assert packed_host(text) == packed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.256",
        "1.2.3.4 ",
        "1.2.3.4\0",
        "\u0660.0.0.0",
        "\ud800",
        "::g",
    ],
)
def test_near_misses_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        packed_host(text)


@given(ADDRESSES, st.integers(0, 65535), ADDRESSES, st.integers(0, 2**32 - 1))
def test_a_path_gives_back_both_ends_with_ipv4_as_such(
    remote: ipaddress.IPv4Address | ipaddress.IPv6Address,
    port: int,
    local: ipaddress.IPv4Address | ipaddress.IPv6Address,
    scope: int,
) -> None:
    path = make_path(Address(str(remote), port), str(local), scope_id=scope)
    assert len(path) == PATH_LENGTH
    assert remote_address(path) == Address(_unmapped(remote), port)
    assert local_host(path) == _unmapped(local)


def _unmapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return str(getattr(address, "ipv4_mapped", None) or address)
