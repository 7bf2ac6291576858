"""What became of allocations, for logs, metrics and the ledger of usage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turn.allocation import Allocation, Peer
    from turn.relays import Usage


class EndReason(Enum):
    """Why an allocation ended. The value is the label of the metric."""

    RELEASED = "released"  # LIFETIME 0
    EXPIRED = "expired"  # not refreshed, or the credential is over
    REVOKED = "revoked"
    DISCONNECTED = "disconnected"  # its TCP or TLS connection closed
    STOPPED = "stopped"  # with the server


@dataclass(frozen=True, slots=True)
class Allocated:
    """A client has relayed addresses."""

    allocation: Allocation


@dataclass(frozen=True, slots=True)
class Permitted:
    """A client may exchange datagrams with `ip` (4 or 16 bytes), as it may not have done before."""

    allocation: Allocation
    ip: bytes


@dataclass(frozen=True, slots=True)
class PeersLimited:
    """A client named new peers too fast, for the first time: it may be looking for open ones."""

    allocation: Allocation


@dataclass(frozen=True, slots=True)
class Ended:
    """An allocation is gone."""

    allocation: Allocation
    reason: EndReason
    usage: Usage


class ConnectionEnd(Enum):
    """Why a connection with a peer ended, or did not come about. The value is the label of the metric."""

    FAILED = "failed"  # the peer, or its network, refused; or it could not be joined
    TIMEOUT = "timeout"  # no answer of the peer
    UNBOUND = "unbound"  # the client did not take it
    CLOSED = "closed"  # by the client or the peer
    REPLACED = "replaced"  # by one of the same peer's address and port
    ALLOCATION = "allocation"  # with its relayed address


@dataclass(frozen=True, slots=True)
class Connected:
    """A client has a TCP connection with a peer, which the peer opened or the client (RFC 6062)."""

    allocation: Allocation
    peer: Peer
    by_peer: bool


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """One that the client asked for did not come about."""

    allocation: Allocation
    peer: Peer
    reason: ConnectionEnd


@dataclass(frozen=True, slots=True)
class Disconnected:
    """One that there was, `since` that moment, is gone."""

    allocation: Allocation
    peer: Peer
    reason: ConnectionEnd
    since: float
    usage: Usage
    by_peer: bool


Event = Allocated | Permitted | PeersLimited | Ended | Connected | ConnectFailed | Disconnected
