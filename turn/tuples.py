"""Who talks to the server, by which transport, over which of its addresses; and what it relays."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from sfu.net.address import Address, packed_host


class Transport(Enum):
    """What carries a client's messages; the value is how an ICE server's URL names it."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


class RelayTransport(Enum):
    """What a relayed address takes; the value is what REQUESTED-TRANSPORT says (RFC 8656 18.8)."""

    UDP = 17
    TCP = 6


class FiveTuple(NamedTuple):
    """What an allocation is known by (RFC 8656 2): the client's address, ours that was hit, the transport.

    On TCP and TLS it stands for one connection, as long as that is open.
    """

    transport: Transport
    remote: Address
    local: Address

    @property
    def ip(self) -> bytes:
        """The client's address, 4 or 16 bytes."""
        return packed_host(self.remote.host)
