"""What an Allocate request asks for (RFC 8656 7.2, its steps 3 to 9, in that order)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from sfu.wire import turn as wire
from sfu.wire.turn import AddressFamily, TurnAttribute
from turn.requests import Rejected
from turn.tuples import RelayTransport, Transport

if TYPE_CHECKING:
    from collections.abc import Collection

    from turn.requests import Request

IPV4, IPV6 = 4, 16
"""Address families, by the length of their addresses."""

LEAST_LIFETIME_S: Final = 600  # RFC 8656 7.2
FAMILIES: Final = {AddressFamily.IPV4: IPV4, AddressFamily.IPV6: IPV6}
_OF_UDP: Final = (TurnAttribute.DONT_FRAGMENT, TurnAttribute.EVEN_PORT, TurnAttribute.RESERVATION_TOKEN)


class Parity(Enum):
    """What EVEN-PORT asks of the port."""

    ANY = "any"
    EVEN = "even"
    PAIR = "pair"  # even, and the next one is held for another allocation


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be opened. `also` is a family that may fail, `token` stands for a port that is held."""

    family: int
    also: int | None = None
    parity: Parity = Parity.ANY
    token: bytes | None = None
    transport: RelayTransport = RelayTransport.UDP


def read_wanted(
    request: Request, families: Collection[int], transports: Collection[RelayTransport]
) -> Wanted:
    """What the request wants of a server that relays `transports` for `families`. Raises Rejected."""
    transport = _read_transport(request, transports)
    reserve = request.read(TurnAttribute.EVEN_PORT, wire.decode_even_port)
    token = request.read(TurnAttribute.RESERVATION_TOKEN, wire.decode_reservation_token)
    asked = request.read(TurnAttribute.REQUESTED_ADDRESS_FAMILY, wire.decode_address_family)
    also = request.read(TurnAttribute.ADDITIONAL_ADDRESS_FAMILY, wire.decode_address_family)
    if token is not None and (reserve, asked, also) != (None, None, None):
        raise Rejected(400)
    if asked is not None and also is not None:
        raise Rejected(400)
    family = read_family(asked)
    if family is None or (family not in families and also is None and token is None):
        raise Rejected(440)
    if also is not None and (reserve or read_family(also) != IPV6):
        raise Rejected(400)
    parity = {None: Parity.ANY, False: Parity.EVEN, True: Parity.PAIR}[reserve]
    return Wanted(family, None if also is None else IPV6, parity, token, transport)


def _read_transport(request: Request, transports: Collection[RelayTransport]) -> RelayTransport:
    asked = request.read(TurnAttribute.REQUESTED_TRANSPORT, wire.decode_requested_transport)
    if asked is None:
        raise Rejected(400)
    transport = next((known for known in transports if known.value == asked), None)
    if transport is None:
        raise Rejected(442)
    if transport is RelayTransport.TCP and (  # RFC 6062 5.1
        request.client.transport is Transport.UDP or any(map(request.has, _OF_UDP))
    ):
        raise Rejected(400)
    return transport


def read_family(asked: int | None) -> int | None:
    """The family that REQUESTED-ADDRESS-FAMILY names, IPv4 without it; None for one that there is not."""
    if asked is None:
        return IPV4
    return next((size for family, size in FAMILIES.items() if family == asked), None)


def granted_lifetime(asked: int | None, most: int) -> int:
    """Seconds that an allocation is granted, of those asked for (RFC 8656 7.2)."""
    return max(LEAST_LIFETIME_S, min(asked or 0, most))
