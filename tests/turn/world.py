"""A server with all that is around it, without a socket: ports, clients, a relay that notes its orders."""

from __future__ import annotations

import errno
import ipaddress
import itertools
import random
from dataclasses import dataclass, field
from typing import Any

from sfu.net.address import Address, packed_host
from sfu.wire import stun
from sfu.wire import turn as wire
from sfu.wire.stun import Attribute, Message, MessageClass, PasswordAlgorithm
from sfu.wire.turn import Method, TurnAttribute
from turn.allocate import IPV4, IPV6
from turn.allocation import AllocationId, Peer
from turn.auth import Authenticator
from turn.connections import ConnectionBounds, ConnectionId, Connections
from turn.credentials import Credentials, Keys, Minted
from turn.limits import Bounds, Limits
from turn.nonce import Nonces
from turn.openings import Opener, RelayHost
from turn.policy import PeerPolicy
from turn.ports import RelayPorts, RelaySocket
from turn.relays import Relay, Usage
from turn.server import Server
from turn.tuples import FiveTuple, Transport

REALM, KEY = "orchard", "0123456789abcdef"
WALL = 1_800_000_000.0
SERVER = Address("192.0.2.2", 3478)
PEER, OTHER = Address("198.18.0.1", 5000), Address("198.18.0.2", 5000)
PEER_V6 = Address("2001:4860::1", 5000)
RELAY_V4, RELAY_V6 = "192.0.2.2", "2001:4860::2"
BOTH = {IPV4: RelayHost("127.0.0.1", RELAY_V4), IPV6: RelayHost("::1", RELAY_V6)}

Attributes = tuple[tuple[int, bytes], ...]


@dataclass
class NoSocket:
    """A socket of a relayed address that is none."""

    host: str
    port: int
    closed: bool = False

    def fileno(self) -> int:
        return -1

    def detach(self) -> int:
        return -1

    def close(self) -> None:
        self.closed = True


@dataclass
class Notes:
    """What the relay knows of one allocation."""

    client: FiveTuple
    told: list[bytes] = field(default_factory=list[bytes])
    sockets: dict[int, RelaySocket] = field(default_factory=dict[int, RelaySocket])
    permissions: dict[bytes, tuple[float, bool]] = field(default_factory=dict[bytes, tuple[float, bool]])
    channels: dict[int, tuple[Peer, float]] = field(default_factory=dict[int, tuple[Peer, float]])


class NotingRelay:
    """Relays nothing, and notes what it would check datagrams against."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.peers_left = 1000
        self.watched = 1000  # sockets that the system watches
        self.allocations: dict[AllocationId, Notes] = {}
        self._ids = itertools.count(1)

    def add(self, client: FiveTuple) -> AllocationId | None:
        if len(self.allocations) == self.room:
            return None
        handle = AllocationId(next(self._ids))
        self.allocations[handle] = Notes(client)
        return handle

    def attach(self, allocation: AllocationId, sock: RelaySocket) -> None:
        assert isinstance(sock, NoSocket)
        if self.watched == sum(len(notes.sockets) for notes in self.allocations.values()):
            raise OSError(errno.ENOSPC, "No space left on device")
        self.allocations[allocation].sockets[len(packed_host(sock.host))] = sock

    def detach(self, allocation: AllocationId, size: int) -> None:
        notes = self.allocations[allocation]
        notes.sockets.pop(size).close()
        notes.permissions = {ip: value for ip, value in notes.permissions.items() if len(ip) != size}
        notes.channels = {n: value for n, value in notes.channels.items() if len(value[0].ip) != size}

    def remove(self, allocation: AllocationId) -> Usage:
        for sock in self.allocations.pop(allocation).sockets.values():
            sock.close()
        return Usage()

    def has_room(self, allocation: AllocationId, permissions: int, channels: int) -> bool:
        assert allocation in self.allocations
        return self.peers_left >= permissions + channels

    def permit(self, allocation: AllocationId, ip: bytes, until: float, *, own_ports: bool) -> None:
        self.allocations[allocation].permissions[ip] = until, own_ports

    def bind(self, allocation: AllocationId, number: int, peer: Peer, until: float) -> None:
        self.allocations[allocation].channels[number] = peer, until

    def tell(self, allocation: AllocationId, data: bytes) -> None:
        self.allocations[allocation].told.append(data)


class NotingSockets:
    """Connects nothing, and notes what it was asked to."""

    def __init__(self) -> None:
        self.listening: dict[tuple[AllocationId, int], NoSocket] = {}
        self.dialled: list[tuple[ConnectionId, AllocationId, Peer]] = []
        self.bound: dict[ConnectionId, FiveTuple] = {}
        self.closed: list[ConnectionId] = []
        self.can_bind = True
        self.watched = 1000

    def listen(self, allocation: AllocationId, size: int, sock: RelaySocket) -> None:
        assert isinstance(sock, NoSocket)
        if self.watched == len(self.listening):
            raise OSError(errno.ENOSPC, "No space left on device")
        self.listening[allocation, size] = sock

    def unlisten(self, allocation: AllocationId, size: int) -> None:
        self.listening.pop((allocation, size)).close()

    def dial(self, connection: ConnectionId, allocation: AllocationId, peer: Peer) -> None:
        assert (allocation, len(peer.ip)) in self.listening
        self.dialled.append((connection, allocation, peer))

    def bind(self, connection: ConnectionId, allocation: AllocationId, client: FiveTuple) -> bool:
        assert connection not in self.bound
        assert any(of == allocation for of, _ in self.listening)
        if self.can_bind:
            self.bound[connection] = client
        return self.can_bind

    def close(self, connection: ConnectionId) -> Usage:
        assert connection not in self.closed
        self.closed.append(connection)
        return Usage(to_peers_bytes=10, to_client_bytes=20) if connection in self.bound else Usage()


class World:
    """One server and its surroundings. `now` is moved by the test."""

    def __init__(
        self,
        *,
        hosts: dict[int, RelayHost] | None = None,
        relay_room: int = 1000,
        tcp: ConnectionBounds | None = None,
        public: bool = True,
        relay: Relay | None = None,
        **bounds: Any,
    ) -> None:
        self.now = 100.0
        self.peers = NotingSockets()
        self.relay = NotingRelay(relay_room)
        self.sockets: list[NoSocket] = []
        self.refused: set[tuple[str, int]] = set()  # addresses that other programs hold
        self.descriptors = 10_000
        self.ports = RelayPorts(50000, 50999, bind=self._bind, random=random.Random(1))
        self.tcp_ports = RelayPorts(50000, 50999, bind=self._bind, random=random.Random(2))
        self.limits = Limits(Bounds(**bounds), bytes(16))
        self.credentials = Credentials(REALM, Keys({KEY: (bytes(16),)}))
        self.policy = PeerPolicy(
            public=public,
            hosts=[RELAY_V4, RELAY_V6],
            relays=[RELAY_V4, RELAY_V6],
            relay_ports=(50000, 50999),
            allow=["198.18.0.0/15"],
        )
        self.server = Server(
            authenticator=Authenticator(Nonces(bytes(16)), self.credentials),
            relay=relay or self.relay,
            opener=Opener(
                self.ports, BOTH if hosts is None else hosts, tcp=None if tcp is None else self.tcp_ports
            ),
            policy=self.policy,
            limits=self.limits,
            sockets=self.peers,
            connections=Connections(tcp or ConnectionBounds(), random.Random(3)),
        )
        self._clients = itertools.count(40000)
        self.ids = itertools.count(1)  # of transactions

    @property
    def wall_now(self) -> float:
        return WALL + self.now

    def _bind(self, host: str, port: int) -> RelaySocket | None:
        if (host, port) in self.refused:
            return None
        if self.open_sockets() == self.descriptors:
            raise OSError(errno.EMFILE, "Too many open files")
        self.sockets.append(NoSocket(host, port))
        return self.sockets[-1]

    def open_sockets(self) -> int:
        return sum(not sock.closed for sock in self.sockets)

    def client(self, *, transport: Transport = Transport.UDP, ttl_s: int = 3600, **values: Any) -> Client:
        """A client at an address of its own, with a credential of its own."""
        return Client(self, self.credentials.mint(KEY, ttl_s, "", self.wall_now), transport, **values)

    def next_port(self) -> int:
        return next(self._clients)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.server.handle_timer(self.now)


class Client:
    """Signs its requests, once it was challenged, and reads answers."""

    def __init__(
        self,
        world: World,
        minted: Minted,
        transport: Transport,
        host: str = "192.0.2.1",
        port: int | None = None,
    ) -> None:
        self.world = world
        self.minted = minted
        self.tuple = FiveTuple(transport, Address(host, port or world.next_port()), SERVER)
        self._nonce = b""

    @property
    def key(self) -> bytes:
        return stun.long_term_key(self.minted.username, REALM, self.minted.password, PasswordAlgorithm.MD5)

    def raw(self, data: bytes) -> Message | None:
        answer = self.world.server.receive(data, self.tuple, self.world.now, self.world.wall_now)
        return None if answer is None else stun.parse(answer)

    def transaction(self) -> bytes:
        return next(self.world.ids).to_bytes(12, "big")

    def signed(self, method: int, attributes: Attributes, transaction: bytes) -> bytes:
        if not self._nonce:
            challenge = self.raw(stun.build(method, MessageClass.REQUEST, self.transaction()))
            assert challenge is not None
            self._nonce = challenge.get(Attribute.NONCE) or b""
        named = (
            (Attribute.USERNAME, self.minted.username.encode()),
            (Attribute.REALM, REALM.encode()),
            (Attribute.NONCE, self._nonce),
        )
        return stun.build(method, MessageClass.REQUEST, transaction, [*attributes, *named], key=self.key)

    def ask(self, method: int, *attributes: tuple[int, bytes], transaction: bytes | None = None) -> Message:
        """Send a signed request; its answer, which is signed in turn and of the same transaction."""
        used = transaction or self.transaction()
        answer = self.raw(self.signed(method, attributes, used))
        assert answer is not None
        if code_of(answer) == 438:  # the nonce is too old: again, with the one that came
            self._nonce = answer.get(Attribute.NONCE) or b""
            answer = self.raw(self.signed(method, attributes, used))
            assert answer is not None
        assert answer.method == method
        assert answer.transaction_id == used
        assert stun.verify_integrity(answer, self.key)
        return answer

    def code(self, method: int, *attributes: tuple[int, bytes], transaction: bytes | None = None) -> int:
        """The code of the answer; 200 for a success."""
        return code_of(self.ask(method, *attributes, transaction=transaction))

    def allocate(self, *more: tuple[int, bytes], transaction: bytes | None = None) -> Message:
        return self.ask(Method.ALLOCATE, UDP, *more, transaction=transaction)

    def permit(self, *peers: Address) -> int:
        transaction = self.transaction()
        attributes = [peer_attribute(peer, transaction) for peer in peers]
        return self.code(Method.CREATE_PERMISSION, *attributes, transaction=transaction)

    def bind(self, number: int, peer: Address) -> int:
        transaction = self.transaction()
        channel = (TurnAttribute.CHANNEL_NUMBER, wire.encode_channel_number(number))
        return self.code(
            Method.CHANNEL_BIND, channel, peer_attribute(peer, transaction), transaction=transaction
        )

    def refresh(self, lifetime: int | None = None, *more: tuple[int, bytes]) -> Message:
        asked = () if lifetime is None else ((TurnAttribute.LIFETIME, wire.encode_lifetime(lifetime)),)
        return self.ask(Method.REFRESH, *asked, *more)

    @property
    def notes(self) -> Notes:
        """What the relay knows of the client's allocation."""
        (notes,) = [n for n in self.world.relay.allocations.values() if n.client == self.tuple]
        return notes


UDP = (TurnAttribute.REQUESTED_TRANSPORT, wire.encode_requested_transport(17))


def peer_attribute(address: Address, transaction: bytes) -> tuple[int, bytes]:
    value = stun.encode_xor_address(packed_host(address.host), address.port, transaction)
    return TurnAttribute.XOR_PEER_ADDRESS, value


def code_of(answer: Message) -> int:
    if answer.message_class is MessageClass.SUCCESS:
        return 200
    return stun.decode_error_code(answer.get(Attribute.ERROR_CODE) or b"")[0]


def relayed(answer: Message) -> list[Address]:
    """The relayed addresses of an answer."""
    found = answer.get_all(TurnAttribute.XOR_RELAYED_ADDRESS)
    return [_address(*stun.decode_xor_address(value, answer.transaction_id)) for value in found]


def _address(ip: bytes, port: int) -> Address:
    return Address(str(ipaddress.ip_address(ip)), port)


def lifetime_of(answer: Message) -> int:
    return wire.decode_lifetime(answer.get(TurnAttribute.LIFETIME) or b"")
