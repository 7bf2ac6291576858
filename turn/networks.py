"""Sets of IPv4 and IPv6 networks, as settings name them."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Networks:
    """A set of IPv4 and IPv6 networks, asked with packed addresses, which sort as numbers do."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Raises ValueError for text that is no network."""
        self._firsts: dict[int, list[bytes]] = {4: [], 16: []}
        self._lasts: dict[int, list[bytes]] = {4: [], 16: []}
        for network in sorted(map(parse_network, texts), key=_widest_first):
            first, last = network.network_address.packed, network.broadcast_address.packed
            lasts = self._lasts[len(first)]
            if lasts and last <= lasts[-1]:
                continue  # within the one before: networks never overlap by halves
            self._firsts[len(first)].append(first)
            lasts.append(last)

    def __contains__(self, ip: bytes) -> bool:
        before = bisect_right(self._firsts[len(ip)], ip)
        return before > 0 and ip <= self._lasts[len(ip)][before - 1]


def _widest_first(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> tuple[bytes, int]:
    return network.network_address.packed, network.prefixlen


def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Read `ADDRESS` or `ADDRESS/BITS`. Raises ValueError, whose text says what is wrong."""
    if "%" in text:
        raise ValueError(f"{text}: a network has no zone")
    return ipaddress.ip_network(text)


def wrong_networks(texts: Sequence[str]) -> str | None:
    """What is wrong with a setting of networks, or None."""
    for text in texts:
        try:
            parse_network(text)
        except ValueError as error:
            return f"{error}; want networks such as 192.0.2.0/24 or 2001:db8::/32"
    return None
