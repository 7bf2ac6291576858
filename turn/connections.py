"""The connections between clients with TCP allocations and their peers, and what bounds them (RFC 6062).

    Connect -------> connecting --made--> pending --ConnectionBind--> bound
                         |  447, 30 s        |  30 s                    |  both ends finished, one broke
                         v                   v                          v
    a peer connects ------------------->   gone  <---- the allocation, or that family of it, ended

Each is known by a CONNECTION-ID, which nobody can guess, though it helps only whoever has the credential that
the connection was made with. Of one peer's address and port an allocation has one connection at most, as TCP
has.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from secrets import SystemRandom
from typing import TYPE_CHECKING, NewType

from sfu.base.settings import Setting
from sfu.base.timers import Timers
from turn.limits import Limit, refuse
from turn.ports import parse_range, wrong_range

if TYPE_CHECKING:
    from random import Random

    from sfu.base.settings import Config
    from turn.allocation import Allocation, AllocationId, Peer
    from turn.ports import PortRange
    from turn.requests import Request
    from turn.tuples import FiveTuple

ConnectionId = NewType("ConnectionId", int)
"""The 32 bits of a CONNECTION-ID."""

# Settings

TCP_RELAY = Setting(
    "turn.tcp_relay",
    bool,
    False,
    help="Give out TCP allocations (RFC 6062): for all users a TCP proxy to whom turn.policy allows",
)
PEER_CONNECTIONS = Setting(
    "turn.peer_connections",
    int,
    2000,
    minimum=1,
    maximum=100_000,
    help="Connections between TCP allocations and peers at a time; each takes two descriptors",
)
PEER_CONNECTIONS_EACH = Setting(
    "turn.peer_connections_per_allocation",
    int,
    16,
    minimum=1,
    maximum=1024,
    help="As turn.peer_connections, for one allocation; for one more it is answered 508",
)
PEER_CONNECTIONS_PENDING = Setting(
    "turn.peer_connections_pending",
    int,
    8,
    minimum=1,
    maximum=1024,
    help="Connections that peers opened to one allocation and its client has yet to accept; more are closed",
)
PEER_PORTS = Setting(
    "turn.tcp_peer_ports",
    str,
    "1024-65535",
    check=wrong_range,
    help="TCP ports of peers that clients may connect to, LOW-HIGH; what listens below is seldom a peer",
)
CONNECT_S = Setting(
    "turn.connect_timeout",
    float,
    30.0,
    unit="s",
    minimum=30,
    maximum=600,
    help="How long a connection to a peer may take to come about",
)
BIND_S = Setting(
    "turn.bind_timeout",
    float,
    30.0,
    unit="s",
    minimum=0.1,
    maximum=30,
    help="How long a connection with a peer waits for its client to take it",
)
HALF_CLOSED_S = Setting(
    "turn.half_closed_timeout",
    float,
    60.0,
    unit="s",
    minimum=0.1,
    maximum=3600,
    help="How long a connection with a peer of which one end has finished may be silent",
)
SETTINGS = (
    *(TCP_RELAY, PEER_PORTS, PEER_CONNECTIONS, PEER_CONNECTIONS_EACH, PEER_CONNECTIONS_PENDING),
    *(CONNECT_S, BIND_S, HALF_CLOSED_S),
)


_DEFAULT_PORTS = parse_range(PEER_PORTS.default)


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """The values of the settings above but the first. Times are seconds."""

    connections: int = PEER_CONNECTIONS.default
    connections_each: int = PEER_CONNECTIONS_EACH.default
    pending: int = PEER_CONNECTIONS_PENDING.default
    peer_ports: PortRange = _DEFAULT_PORTS
    connect_s: float = CONNECT_S.default
    bind_s: float = BIND_S.default
    half_closed_s: float = HALF_CLOSED_S.default


def connection_bounds_of(config: Config) -> ConnectionBounds:
    """As the settings say."""
    return ConnectionBounds(
        connections=config[PEER_CONNECTIONS],
        connections_each=config[PEER_CONNECTIONS_EACH],
        pending=config[PEER_CONNECTIONS_PENDING],
        peer_ports=parse_range(config[PEER_PORTS]),
        connect_s=config[CONNECT_S],
        bind_s=config[BIND_S],
        half_closed_s=config[HALF_CLOSED_S],
    )


# The table


class State(Enum):
    """How far a connection has come."""

    CONNECTING = "connecting"
    PENDING = "pending"
    BOUND = "bound"


@dataclass(slots=True)
class Connection:
    """One connection with a peer. `request` is the Connect that asked for it, None where the peer connected;
    `client` is the client's end, once it is bound."""

    id: ConnectionId
    allocation: Allocation
    peer: Peer
    request: Request | None
    state: State
    since: float
    client: FiveTuple | None = None


class Connections:
    """All of one process. `random` is a source that nobody can foresee. Times are of the caller's clock."""

    def __init__(self, bounds: ConnectionBounds, random: Random | None = None) -> None:
        self.bounds = bounds
        self._random = random or SystemRandom()
        self._by_id: dict[ConnectionId, Connection] = {}
        self._by_peer: dict[AllocationId, dict[Peer, Connection]] = {}
        self._by_client: dict[FiveTuple, Connection] = {}
        self._waiting: Counter[AllocationId] = Counter()  # that peers opened
        self._timers: Timers[ConnectionId] = Timers()

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, connection: ConnectionId) -> Connection | None:
        """The connection of that id."""
        return self._by_id.get(connection)

    def with_peer(self, allocation: AllocationId, peer: Peer) -> Connection | None:
        """The connection between an allocation and a peer."""
        return self._by_peer.get(allocation, {}).get(peer)

    def of_client(self, client: FiveTuple) -> Connection | None:
        """The connection that was bound to a client's."""
        return self._by_client.get(client)

    def of(self, allocation: AllocationId) -> list[Connection]:
        """All connections of an allocation."""
        return list(self._by_peer.get(allocation, {}).values())

    def has_room(self, allocation: AllocationId, *, by_peer: bool) -> bool:
        """Whether an allocation may have one more; what is refused is counted. Peers can't take all of its
        room."""
        if len(self._by_id) >= self.bounds.connections:
            return refuse(Limit.PEER_CONNECTIONS)
        if len(self._by_peer.get(allocation, ())) >= self.bounds.connections_each:
            return refuse(Limit.PEER_CONNECTIONS_EACH)
        if by_peer and self._waiting[allocation] >= self.bounds.pending:
            return refuse(Limit.PEER_CONNECTIONS_PENDING)
        return True

    def dialled(self, allocation: Allocation, peer: Peer, request: Request) -> Connection:
        """A connection that is being made. There is room, and none with this peer."""
        made = self._add(allocation, peer, request, State.CONNECTING, request.now)
        self._timers.set(made.id, request.now + self.bounds.connect_s)
        return made

    def accepted(self, allocation: Allocation, peer: Peer, now: float) -> Connection:
        """A connection that a peer opened. There is room, and none with this peer."""
        made = self._add(allocation, peer, None, State.PENDING, now)
        self._waiting[allocation.id] += 1
        self._timers.set(made.id, now + self.bounds.bind_s)
        return made

    def made(self, connection: Connection, now: float) -> None:
        """A connection has come about, and waits for its client."""
        connection.state = State.PENDING
        self._timers.set(connection.id, now + self.bounds.bind_s)

    def bound(self, connection: Connection, client: FiveTuple) -> None:
        """A connection that was pending has been joined to one of the client's."""
        self._settled(connection)
        connection.state, connection.client = State.BOUND, client
        self._by_client[client] = connection

    def remove(self, connection: Connection) -> None:
        """A connection is gone. Raises KeyError if it was before."""
        del self._by_id[connection.id]
        peers = self._by_peer[connection.allocation.id]
        del peers[connection.peer]
        if not peers:
            del self._by_peer[connection.allocation.id]
        if connection.client is not None:
            del self._by_client[connection.client]
        else:
            self._settled(connection)

    def timer_at(self) -> float | None:
        """When `take_due` has something."""
        return self._timers.next_at()

    def take_due(self, now: float) -> list[Connection]:
        """The connections that have waited for too long. They are the caller's to remove."""
        return [self._by_id[connection] for connection in self._timers.take_due(now)]

    def _add(
        self, allocation: Allocation, peer: Peer, request: Request | None, state: State, now: float
    ) -> Connection:
        identity = ConnectionId(self._random.getrandbits(32))
        while identity in self._by_id:
            identity = ConnectionId(self._random.getrandbits(32))
        made = Connection(identity, allocation, peer, request, state, now)
        self._by_id[identity] = made
        self._by_peer.setdefault(allocation.id, {})[peer] = made
        return made

    def _settled(self, connection: Connection) -> None:
        """It waits for its client no more."""
        self._timers.set(connection.id, None)
        if connection.request is None:
            self._waiting[connection.allocation.id] -= 1
            if not self._waiting[connection.allocation.id]:
                del self._waiting[connection.allocation.id]
