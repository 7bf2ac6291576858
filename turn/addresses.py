"""Which addresses relayed ones have: what is bound, and what others are told, which behind a NAT differs."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from sfu.base.settings import Setting
from sfu.net.address import packed_host
from sfu.net.interfaces import interface_hosts, usable_hosts
from turn.openings import RelayHost

if TYPE_CHECKING:
    from collections.abc import Sequence


class RelayAddressError(ValueError):
    """Text that is no relay address, or two of one family; says what is wanted."""


def parse_relay(text: str) -> RelayHost:
    """Read `ADDRESS` or `ADDRESS=TOLD`, both of one family. Raises RelayAddressError."""
    host, _, told = text.partition("=")
    try:
        bound, seen = ipaddress.ip_address(host), ipaddress.ip_address(told or host)
    except ValueError:
        raise RelayAddressError(f"{text}: want ADDRESS or, behind a NAT, ADDRESS=PUBLIC-ADDRESS") from None
    if bound.version != seen.version:
        raise RelayAddressError(f"{text}: both addresses are of one family")
    if bound.is_unspecified or bound.is_multicast or seen.is_unspecified or seen.is_multicast:
        raise RelayAddressError(f"{text}: want addresses that peers can send to")
    return RelayHost(str(bound), str(seen))


def relay_hosts(given: Sequence[str], interfaces: Sequence[str] | None = None) -> dict[int, RelayHost]:
    """By family (4 or 16): the `given` ones or, without any, the first usable address of this machine.

    `interfaces` are the addresses of its interfaces, found if None. Raises RelayAddressError.
    """
    found = [parse_relay(text) for text in given]
    if not given:
        usable = usable_hosts(interface_hosts() if interfaces is None else interfaces)
        found = [RelayHost(host, host) for host in usable]
    by_family: dict[int, RelayHost] = {}
    for relay in found:
        family = len(packed_host(relay.host))
        if given and family in by_family:
            raise RelayAddressError(f"{relay.host}: relayed addresses have one address of each family")
        by_family.setdefault(family, relay)
    return by_family


def _wrong_relay(texts: Sequence[str]) -> str | None:
    try:
        relay_hosts(texts, interfaces=())
    except RelayAddressError as error:
        return str(error)
    return None


RELAY = Setting(
    "turn.relay",
    tuple[str, ...],
    (),
    check=_wrong_relay,
    help="Addresses of relayed ports, one of each family, ADDRESS or ADDRESS=PUBLIC; empty: this machine's",
)
