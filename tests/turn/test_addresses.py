"""Which addresses relayed ones have."""

from __future__ import annotations

import pytest

from turn.addresses import RelayAddressError, parse_relay, relay_hosts
from turn.openings import RelayHost


def test_without_a_setting_it_is_the_first_usable_address_of_each_family() -> None:
    interfaces = ["127.0.0.1", "::1", "fe80::1", "192.0.2.1", "192.0.2.9", "2001:db8::1"]
    assert relay_hosts((), interfaces) == {
        4: RelayHost("192.0.2.1", "192.0.2.1"),
        16: RelayHost("2001:db8::1", "2001:db8::1"),
    }


def test_a_machine_with_loopback_alone_relays_there() -> None:
    assert relay_hosts((), ["127.0.0.1"]) == {4: RelayHost("127.0.0.1", "127.0.0.1")}


def test_behind_a_nat_others_are_told_another_address() -> None:
    assert relay_hosts(["10.0.0.1=192.0.2.1"], []) == {4: RelayHost("10.0.0.1", "192.0.2.1")}


@pytest.mark.parametrize(
    "text", ["", "relay.example", "192.0.2.1:3478", "0.0.0.0", "ff02::1", "10.0.0.1=::1", "10.0.0.1=0.0.0.0"]
)
def test_text_that_is_no_relay_address_says_what_is_wanted(text: str) -> None:
    with pytest.raises(RelayAddressError, match=r"want|family"):
        parse_relay(text)


def test_two_addresses_of_one_family_are_refused() -> None:
    with pytest.raises(RelayAddressError, match="one address of each family"):
        relay_hosts(["192.0.2.1", "192.0.2.2"], [])
