"""Addresses that others are told of this machine and that are not its own: those of a NAT before it.

    client --> relay --> 203.0.113.7:40000, which is told --> 10.0.0.5:40000, where that leads
    client <-- relay <-- 203.0.113.7:40000, as it knows it <-- 10.0.0.5:40000

What is sent to such an address from behind the NAT comes back only where the router sends it back, which not
every one does (hairpinning). So the relay goes where the address leads at once, and tells clients of the
address that they know.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple

from sfu.base.settings import Setting
from sfu.net.address import Address, packed_host
from turn.ports import parse_range

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sfu.base.settings import Listen
    from turn.openings import RelayHost
    from turn.ports import PortRange

MAX_RANGES: Final = 32  # chosen: the packet path looks through all of them
_EVERY: Final = ("", "::", "0.0.0.0")  # noqa: S104 - compared with


class Told(NamedTuple):
    """Ports `low` to `high` of the address that others are `told`, which lead to `host`, port `first` on."""

    told: str
    low: int
    high: int
    host: str
    first: int

    @property
    def addresses(self) -> list[Address]:
        """All that is told."""
        return [Address(self.told, port) for port in range(self.low, self.high + 1)]


class Media(NamedTuple):
    """Where media of this machine is: what clients are told, and where it is listened for."""

    told: Address
    listens: Listen


def parse_media(text: str) -> Told:
    """Read `ADDRESS:PORT` or `ADDRESS:LOW-HIGH`, IPv6 in brackets, and `HOST=` before it where the address is
    told and leads to HOST. Raises ValueError."""
    local, _, told = text.rpartition("=")
    host, _, ports = told.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    else:
        host = str(ipaddress.IPv4Address(host))
    leads = str(ipaddress.ip_address(local)) if local else host
    if len(packed_host(leads)) != len(packed_host(host)):
        raise ValueError("both addresses are of one family")
    low, high = parse_range(ports)
    return Told(host, low, high, leads, low)


def _wrong_media(texts: Sequence[str]) -> str | None:
    for text in texts:
        try:
            parse_media(text)
        except ValueError:
            return (
                f"{text}: want ADDRESS:PORT or ADDRESS:LOW-HIGH, such as [2001:db8::1]:40000; "
                "behind a NAT, HOST=ADDRESS:PORT"
            )
    return None


MEDIA = Setting(
    "turn.media",
    tuple[str, ...],
    (),
    check=_wrong_media,
    help="Media addresses of other nodes that TURN clients may reach, ADDRESS:PORT or ADDRESS:LOW-HIGH; "
    "HOST=ADDRESS:PORT behind the same NAT",
)


def told_addresses(
    *,
    relays: Mapping[int, RelayHost],
    relay_ports: PortRange,
    media: Iterable[Media],
    others: Iterable[Told],
    interfaces: Collection[str],
) -> list[Told]:
    """What is told and leads elsewhere, in as few ranges as there can be; of two with a port in common the
    first counts.

    `relays` are the hosts of relayed addresses by family, `media` is this machine's, whose addresses are
    `interfaces`; `others` are the settings'. Raises ValueError where there are more than `MAX_RANGES`.
    """
    found = [Told(relay.told, *relay_ports, relay.host, relay_ports[0]) for relay in relays.values()]
    for told, listens in media:
        relay = relays.get(len(packed_host(told.host)))
        # Where media is listened for at every address, relays reach it at their own.
        host = listens.host if listens.host not in _EVERY else relay.host if relay else told.host
        if told.host not in interfaces and len(packed_host(host)) == len(packed_host(told.host)):
            found.append(Told(told.host, told.port, told.port, host, listens.port))
    return _merged(told for told in [*found, *others] if told.told != told.host)


def _merged(found: Iterable[Told]) -> list[Told]:
    merged: list[Told] = []
    for told in sorted(set(found), key=lambda told: (told.told, told.host, told.first - told.low, told.low)):
        last = merged[-1] if merged else None
        is_next = (
            last is not None
            and (last.told, last.host, last.first - last.low) == (told.told, told.host, told.first - told.low)
            and told.low <= last.high + 1
        )
        if last is not None and is_next:
            merged[-1] = last._replace(high=max(last.high, told.high))
        else:
            merged.append(told)
    if len(merged) > MAX_RANGES:
        raise ValueError(
            f"ports at addresses before a NAT: {len(merged)} ranges, of at most {MAX_RANGES}; "
            "give media ports side by side"
        )
    return sorted(merged, key=lambda told: told.high - told.low)  # media may lie among the ports of relays
