"""What the server asks of the data path, which moves datagrams between clients and peers without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from turn.allocation import AllocationId, Peer
    from turn.connections import ConnectionId
    from turn.ports import RelaySocket
    from turn.tuples import FiveTuple


@dataclass(frozen=True, slots=True)
class Usage:
    """What an allocation has relayed: packets and bytes of data, from the client to peers and back."""

    to_peers_packets: int = 0
    to_peers_bytes: int = 0
    to_client_packets: int = 0
    to_client_bytes: int = 0


class Relay(Protocol):
    """The data path. It checks every datagram against the permissions and channels that it was told of."""

    def add(self, client: FiveTuple) -> AllocationId | None:
        """Take in an allocation of `client`, which has no relayed address yet; None when there is no room."""
        ...

    def attach(self, allocation: AllocationId, sock: RelaySocket) -> None:
        """Take a socket over: datagrams of its family leave by it, and what arrives on it is the client's."""
        ...

    def detach(self, allocation: AllocationId, size: int) -> None:
        """Close the socket of the family whose addresses have `size` bytes; what led there goes."""
        ...

    def remove(self, allocation: AllocationId) -> Usage:
        """Forget an allocation and close its sockets."""
        ...

    def has_room(self, allocation: AllocationId, permissions: int, channels: int) -> bool:
        """Whether all allocations together leave room for so many more of this one."""
        ...

    def permit(self, allocation: AllocationId, ip: bytes, until: float, *, own_ports: bool) -> None:
        """Let datagrams pass between the client and `ip`; with `own_ports` only at this deployment's."""
        ...

    def bind(self, allocation: AllocationId, number: int, peer: Peer, until: float) -> None:
        """Let a channel stand for a peer, which is permitted besides."""
        ...

    def tell(self, allocation: AllocationId, data: bytes) -> None:
        """Send the client of an allocation a message that is not the answer to the one at hand."""
        ...


class PeerSockets(Protocol):
    """The sockets of TCP allocations (RFC 6062). They accept and connect by themselves, and tell the server
    what became of that, never within a call from it."""

    def listen(self, allocation: AllocationId, size: int, sock: RelaySocket) -> None:
        """Take a listening socket over, the relayed address of the family whose addresses have `size` bytes;
        `Server.peer_connected` hears of who connects."""
        ...

    def unlisten(self, allocation: AllocationId, size: int) -> None:
        """Close it."""
        ...

    def dial(self, connection: ConnectionId, allocation: AllocationId, peer: Peer) -> None:
        """Connect a relayed address to a peer; `Server.dialled` hears whether that came about."""
        ...

    def bind(self, connection: ConnectionId, allocation: AllocationId, client: FiveTuple) -> bool:
        """Join a connection that came about to that of a client, of whom the server has a message; False if
        it can't be. `Server.disconnected` hears of its end."""
        ...

    def close(self, connection: ConnectionId) -> Usage:
        """Close a connection, whatever has become of it; what it has carried."""
        ...
