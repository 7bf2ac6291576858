"""The rules of TCP allocations (RFC 6062 5.2 to 5.5): Connect, ConnectionBind, and peers that connect.

    Connect --> allowed? room? --> the sockets connect --> CONNECTION-ID, or 447
    a peer connects --> permitted? room? --> ConnectionAttempt
    ConnectionBind on a connection of its own --> the same credential, pending --> both are joined

It has no sockets: `PeerSockets` has, and tells what became of them. Peers are judged when they are connected
to and when they connect; once bound, bytes pass without being looked at, in the relay.
"""

from __future__ import annotations

from secrets import token_bytes
from typing import TYPE_CHECKING

from prometheus_client import Counter

from sfu.wire import stun
from sfu.wire import turn as wire
from sfu.wire.stun import MessageClass
from sfu.wire.turn import Method, TurnAttribute
from turn.connections import ConnectionId, State
from turn.events import Connected, ConnectFailed, ConnectionEnd, Disconnected
from turn.new_peers import admit_new_peers
from turn.policy import Verdict
from turn.requests import Rejected, count_answer
from turn.tuples import RelayTransport, Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from turn.allocation import Allocation, Peer
    from turn.connections import Connection, Connections
    from turn.events import Event
    from turn.limits import Limits
    from turn.openings import Opener
    from turn.policy import PeerPolicy
    from turn.relays import PeerSockets, Relay, RelaySocket
    from turn.requests import Request
    from turn.tuples import FiveTuple

_turned_away = Counter(
    "orchard_turn_peers_turned_away_total", "Connections of peers without a permission, which were closed"
)


class TcpAllocations:
    """The connections of all TCP allocations of one process. `note` takes what has become of them."""

    def __init__(
        self,
        connections: Connections,
        sockets: PeerSockets,
        *,
        relay: Relay,
        opener: Opener,
        policy: PeerPolicy,
        limits: Limits,
        note: Callable[[Event], None],
    ) -> None:
        self._connections = connections
        self._sockets = sockets
        self._relay = relay
        self._opener = opener
        self._policy = policy
        self._limits = limits
        self._note = note

    def listen(self, allocation: Allocation, size: int, sock: RelaySocket) -> None:
        """A relayed address is open: peers may connect to it."""
        self._sockets.listen(allocation.id, size, sock)

    # clients

    def connect(self, request: Request, allocation: Allocation) -> None:
        """Begin to connect to a peer; the answer comes with `dialled`. Raises Rejected (437, 400, 446, 443,
        403, 508)."""
        if allocation.transport is not RelayTransport.TCP:
            raise Rejected(437)
        peer = request.peer()
        if self._connections.with_peer(allocation.id, peer) is not None:
            raise Rejected(446)
        if len(peer.ip) not in allocation.relayed:
            raise Rejected(443)
        if not self._may_be_reached(peer) or self._is_itself(allocation, peer):
            raise Rejected(403)
        if not self._connections.has_room(allocation.id, by_peer=False):
            raise Rejected(508)
        admit_new_peers(allocation, 1, request.now, self._limits, self._note)
        connection = self._connections.dialled(allocation, peer, request)
        self._sockets.dial(connection.id, allocation.id, self._opener.leads_to(peer))

    def connection_bind(self, request: Request, *, is_control: bool) -> bytes:
        """Join the connection that the request came on to one with a peer; `is_control`: it has an
        allocation. Raises Rejected (400, 508)."""
        identity = request.read(TurnAttribute.CONNECTION_ID, wire.decode_connection_id)
        if request.client.transport is Transport.UDP or is_control or identity is None:
            raise Rejected(400)
        connection = self._connections.get(ConnectionId(identity))
        # another's is as unknown as one that there is not
        if (
            connection is None
            or connection.state is not State.PENDING
            or connection.allocation.credential.username != request.user.credential.username
        ):
            raise Rejected(400)
        if not self._sockets.bind(connection.id, connection.allocation.id, request.client):
            self._end(connection, ConnectionEnd.FAILED)
            raise Rejected(508)
        self._connections.bound(connection, request.client)
        return request.success()

    def disconnected(self, client: FiveTuple) -> None:
        """The client's connection is closed, and if it was joined to a peer's that is closed too."""
        connection = self._connections.of_client(client)
        if connection is not None:
            self._end(connection, ConnectionEnd.CLOSED)

    # peers

    def dialled(self, identity: ConnectionId, *, made: bool, now: float) -> None:
        """What became of the connection that `PeerSockets.dial` was to make, if it still is wanted."""
        connection = self._connections.get(identity)
        if connection is None or connection.request is None:
            return
        if not made:
            self._end(connection, ConnectionEnd.FAILED)
            return
        self._connections.made(connection, now)
        self._note(Connected(connection.allocation, connection.peer, by_peer=False))
        self._relay.tell(connection.allocation.id, connection.request.success(_named(connection)))
        count_answer(Method.CONNECT, 200)

    def accepted(self, allocation: Allocation, peer: Peer, now: float) -> ConnectionId | None:
        """The id of a connection that a peer opened, of which the client is told; None: close it."""
        if not allocation.is_permitted(peer.ip, now):
            peer = self._opener.told_as(peer)
        if not allocation.is_permitted(peer.ip, now) or not self._may_connect(peer):
            _turned_away.inc()
            return None
        before = self._connections.with_peer(allocation.id, peer)
        if before is not None:  # the peer's system knows that it is over
            self._end(before, ConnectionEnd.REPLACED)
        if not self._connections.has_room(allocation.id, by_peer=True):
            return None
        connection = self._connections.accepted(allocation, peer, now)
        self._note(Connected(allocation, peer, by_peer=True))
        transaction_id = token_bytes(stun.TRANSACTION_ID_LENGTH)
        attributes = [
            (TurnAttribute.XOR_PEER_ADDRESS, stun.encode_xor_address(peer.ip, peer.port, transaction_id)),
            _named(connection),
        ]
        self._relay.tell(
            allocation.id,
            stun.build(Method.CONNECTION_ATTEMPT, MessageClass.INDICATION, transaction_id, attributes),
        )
        return connection.id

    # time, and the end of allocations

    def timer_at(self) -> float | None:
        """When `handle_timer` has work."""
        return self._connections.timer_at()

    def handle_timer(self, now: float) -> None:
        """Give up what has waited for long enough."""
        for connection in self._connections.take_due(now):
            connecting = connection.state is State.CONNECTING
            self._end(connection, ConnectionEnd.TIMEOUT if connecting else ConnectionEnd.UNBOUND)

    def close(self, allocation: Allocation, size: int) -> None:
        """A relayed address ends, and with it the connections from and to it."""
        self._sockets.unlisten(allocation.id, size)
        for connection in self._connections.of(allocation.id):
            if len(connection.peer.ip) == size:
                self._end(connection, ConnectionEnd.ALLOCATION)

    def _end(self, connection: Connection, why: ConnectionEnd) -> None:
        self._connections.remove(connection)
        usage = self._sockets.close(connection.id)
        allocation, peer, request = connection.allocation, connection.peer, connection.request
        if request is not None and connection.state is State.CONNECTING:
            self._note(ConnectFailed(allocation, peer, why))
            self._relay.tell(allocation.id, request.failure(Rejected(447)))
            count_answer(Method.CONNECT, 447)
        else:
            self._note(Disconnected(allocation, peer, why, connection.since, usage, by_peer=request is None))

    # who may be a peer

    def _may_connect(self, peer: Peer) -> bool:
        """Whether a peer may be one end of a connection. At our own addresses there are no peers but clients'
        relayed addresses of this moment: whatever else listens there is none of theirs."""
        verdict = self._policy.allows_connections(peer.ip)
        if verdict is Verdict.OWN_PORTS:
            return self._opener.is_relayed(peer)
        return verdict is Verdict.ANY_PORT

    def _may_be_reached(self, peer: Peer) -> bool:
        """Whether clients may connect to it."""
        low, high = self._connections.bounds.peer_ports
        return self._may_connect(peer) and (low <= peer.port <= high or self._opener.is_relayed(peer))

    def _is_itself(self, allocation: Allocation, peer: Peer) -> bool:
        return allocation.relayed[len(peer.ip)].taken.port == peer.port and self._opener.is_relayed(peer)


def _named(connection: Connection) -> tuple[int, bytes]:
    return TurnAttribute.CONNECTION_ID, wire.encode_connection_id(connection.id)
