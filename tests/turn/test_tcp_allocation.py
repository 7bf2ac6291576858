"""TCP allocations by their rules (RFC 6062), without a socket."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.net.address import Address, packed_host
from sfu.wire import stun
from sfu.wire import turn as wire
from sfu.wire.stun import MessageClass
from sfu.wire.turn import Method, TurnAttribute
from tests.turn.world import (
    OTHER,
    PEER,
    PEER_V6,
    RELAY_V4,
    RELAY_V6,
    Client,
    World,
    code_of,
    peer_attribute,
    relayed,
)
from turn.allocation import AllocationId, Peer
from turn.connections import ConnectionBounds, ConnectionId
from turn.events import Connected, ConnectFailed, ConnectionEnd, Disconnected, Ended, PeersLimited
from turn.relays import Usage
from turn.tuples import Transport

if TYPE_CHECKING:
    from sfu.wire.stun import Message

TCP = (TurnAttribute.REQUESTED_TRANSPORT, wire.encode_requested_transport(6))
IPV6 = (TurnAttribute.REQUESTED_ADDRESS_FAMILY, wire.encode_address_family(2))
LEADS = {RELAY_V4: "127.0.0.1", RELAY_V6: "::1"}  # from what is told to what is bound
BOTH = (TurnAttribute.ADDITIONAL_ADDRESS_FAMILY, wire.encode_address_family(2))


def world(*, public: bool = True, limits: dict[str, float] | None = None, **bounds: object) -> World:
    return World(tcp=ConnectionBounds(**bounds), public=public, **limits or {})  # type: ignore[arg-type]


@dataclass
class Control:
    """A client with a TCP allocation, and the relayed addresses of that."""

    client: Client
    relayed: list[Address]
    read: int = 0

    @property
    def world(self) -> World:
        return self.client.world

    @property
    def allocation(self) -> AllocationId:
        notes = self.world.relay.allocations
        return next(id_ for id_, noted in notes.items() if noted.client == self.client.tuple)

    def connect(self, peer: Address) -> int | None:
        """Ask for a connection; the code of the answer, or None where that is to come."""
        transaction = self.client.transaction()
        message = self.client.signed(Method.CONNECT, (peer_attribute(peer, transaction),), transaction)
        answer = self.client.raw(message)
        return None if answer is None else code_of(answer)

    def told(self) -> Message:
        """The next message that the client was sent unasked, or later."""
        message = stun.parse(self.client.notes.told[self.read])
        self.read += 1
        return message

    def connected(self, peer: Address) -> ConnectionId:
        """Connect, with success."""
        assert self.connect(peer) is None
        made, allocation, to = self.world.peers.dialled[-1]
        assert (allocation, to) == (
            self.allocation,
            peer_of(Address(LEADS.get(peer.host, peer.host), peer.port)),
        )
        self.world.server.dialled(made, made=True, now=self.world.now)
        answer = self.told()
        assert code_of(answer) == 200
        assert stun.verify_integrity(answer, self.client.key)
        assert id_of(answer) == made
        return made

    def arrives(self, peer: Address) -> ConnectionId | None:
        """A peer connects."""
        return self.world.server.peer_connected(self.allocation, peer_of(peer), self.world.now)

    def bind(self, connection: int, *, by: Client | None = None) -> tuple[int, Client]:
        """Bind a connection from another one of the client's; the code, and that."""
        data = by or Client(self.world, self.client.minted, Transport.TCP)
        value = wire.encode_connection_id(connection)
        return data.code(Method.CONNECTION_BIND, (TurnAttribute.CONNECTION_ID, value)), data


def control(world: World, *more: tuple[int, bytes], transport: Transport = Transport.TCP) -> Control:
    client = world.client(transport=transport)
    answer = client.ask(Method.ALLOCATE, TCP, *more)
    assert code_of(answer) == 200, code_of(answer)
    return Control(client, relayed(answer))


def peer_of(address: Address) -> Peer:
    return Peer(packed_host(address.host), address.port)


def id_of(message: Message) -> int:
    return wire.decode_connection_id(message.get(TurnAttribute.CONNECTION_ID) or b"")


def ends(world: World) -> list[ConnectionEnd]:
    """Why connections ended, since the last look."""
    return [
        event.reason
        for event in world.server.take_events()
        if isinstance(event, Disconnected | ConnectFailed)
    ]


# Allocate (RFC 6062 5.1)


def test_6062_5_1_without_the_option_tcp_is_not_supported() -> None:
    client = World().client(transport=Transport.TCP)
    assert client.code(Method.ALLOCATE, TCP) == 442
    for method in (Method.CONNECT, Method.CONNECTION_BIND):
        signed = client.signed(Method.REFRESH, (), client.transaction())
        unknown = signed[:1] + bytes([method]) + signed[2:]
        assert client.raw(unknown) is None


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.TLS])
def test_6062_5_1_a_relayed_address_of_tcp_listens(transport: Transport) -> None:
    control_ = control(world(), transport=transport)
    (listening,) = control_.world.peers.listening.values()
    assert [Address(RELAY_V4, listening.port)] == control_.relayed
    assert control_.client.notes.sockets == {}


def test_6062_5_1_over_udp_it_is_a_bad_request() -> None:
    assert world().client().code(Method.ALLOCATE, TCP) == 400


@pytest.mark.parametrize(
    "beside",
    [
        (TurnAttribute.DONT_FRAGMENT, b""),
        (TurnAttribute.EVEN_PORT, wire.encode_even_port(reserves_next=False)),
        (TurnAttribute.EVEN_PORT, wire.encode_even_port(reserves_next=True)),
        (TurnAttribute.RESERVATION_TOKEN, bytes(8)),
    ],
)
def test_6062_5_1_attributes_of_udp_are_a_bad_request(beside: tuple[int, bytes]) -> None:
    assert world().client(transport=Transport.TCP).code(Method.ALLOCATE, TCP, beside) == 400


def test_datagrams_are_relayed_as_ever_beside_it() -> None:
    client = world().client(transport=Transport.TCP)
    assert code_of(client.allocate()) == 200
    assert client.permit(PEER) == 200
    assert client.notes.permissions
    assert client.world.peers.listening == {}


def test_a_port_of_tcp_is_another_than_the_same_of_udp() -> None:
    """Both may have the same number, and each is free again when its allocation ends."""
    both = world()
    of_tcp, of_udp = control(both), both.client()
    of_udp.allocate()
    assert (len(both.tcp_ports), len(both.ports)) == (1, 1)
    of_tcp.client.refresh(0)
    assert (len(both.tcp_ports), len(both.ports)) == (0, 1)
    assert both.open_sockets() == 1


def test_families_are_had_as_for_datagrams() -> None:
    assert [held.is_ipv6 for held in control(world(), IPV6).relayed] == [True]
    both = control(world(), BOTH)
    assert [held.host for held in both.relayed] == [RELAY_V4, RELAY_V6]
    both.connected(PEER)
    both.connected(PEER_V6)


def test_an_allocation_of_tcp_counts_as_any_other() -> None:
    client = world(limits={"allocations_per_user": 1}).client(transport=Transport.TCP)
    assert client.code(Method.ALLOCATE, TCP) == 200
    again = Client(client.world, client.minted, Transport.TCP)
    assert again.code(Method.ALLOCATE, TCP) == 486


# Connect (5.2)


def test_6062_5_2_a_connection_is_named_when_it_has_come_about() -> None:
    control_ = control(world())
    made = control_.connected(PEER)
    assert control_.world.peers.closed == []
    events = control_.world.server.take_events()
    assert next(event for event in events if isinstance(event, Connected)).peer == peer_of(PEER)
    assert made != 0


def test_6062_5_2_needs_no_permission_and_makes_none() -> None:
    control_ = control(world())
    control_.connected(PEER)
    assert control_.arrives(Address(PEER.host, 9999)) is None


def test_6062_5_2_connect_needs_an_allocation_of_tcp() -> None:
    client = world().client(transport=Transport.TCP)
    assert Control(client, []).connect(PEER) == 437
    client.allocate()
    assert Control(client, []).connect(PEER) == 437


def test_6062_5_2_connect_needs_a_peer() -> None:
    control_ = control(world())
    assert control_.client.code(Method.CONNECT) == 400
    assert control_.client.code(Method.CONNECT, (TurnAttribute.XOR_PEER_ADDRESS, b"\0\1\0")) == 400


def test_6062_5_2_one_connection_to_a_peer_whatever_has_become_of_it() -> None:
    control_ = control(world())
    assert control_.connect(PEER) is None
    assert control_.connect(PEER) == 446
    first = control_.world.peers.dialled[0][0]
    control_.world.server.dialled(first, made=True, now=control_.world.now)
    assert control_.connect(PEER) == 446
    _, data = control_.bind(first)
    assert control_.connect(PEER) == 446
    assert control_.connect(Address(PEER.host, PEER.port + 1)) is None
    control_.world.server.disconnected(data.tuple)
    assert control_.connect(PEER) is None


def test_6062_5_2_a_peer_that_refuses_is_told() -> None:
    control_ = control(world())
    assert control_.connect(PEER) is None
    control_.world.server.dialled(control_.world.peers.dialled[0][0], made=False, now=control_.world.now)
    answer = control_.told()
    assert code_of(answer) == 447
    assert stun.verify_integrity(answer, control_.client.key)
    assert control_.world.peers.closed == [control_.world.peers.dialled[0][0]]
    assert ends(control_.world) == [ConnectionEnd.FAILED]


def test_6062_5_2_a_peer_that_does_not_answer_is_waited_for_30_s() -> None:
    control_ = control(world())
    assert control_.connect(PEER) is None
    assert control_.world.server.timer_at() == control_.world.now + 30
    control_.world.advance(29.9)
    assert control_.client.notes.told == []
    control_.world.advance(0.1)
    assert code_of(control_.told()) == 447
    assert ends(control_.world) == [ConnectionEnd.TIMEOUT]
    late = control_.world.peers.dialled[0][0]
    control_.world.server.dialled(late, made=True, now=control_.world.now)
    assert len(control_.client.notes.told) == 1


def test_a_peer_of_a_family_without_a_relayed_address_is_told() -> None:
    assert control(world()).connect(PEER_V6) == 443
    assert control(world(), IPV6).connect(PEER) == 443


def test_connections_of_an_allocation_have_a_bound_and_so_have_all() -> None:
    one = control(world(connections_each=2, connections=3))
    other = control(one.world)
    assert one.connect(PEER) is None
    assert one.connect(OTHER) is None
    assert one.connect(Address(OTHER.host, 1234)) == 508
    assert other.connect(PEER) is None
    assert other.connect(OTHER) == 508


def test_connecting_around_is_as_slow_as_naming_peers() -> None:
    """Who looks for open ports by Connect is stopped like who looks for hosts by permissions."""
    control_ = control(world(limits={"peers_burst": 3, "peers_per_s": 1.0}, connections_each=100))
    ports = [Address(PEER.host, 5000 + number) for number in range(5)]
    assert [control_.connect(peer) for peer in ports] == [None, None, None, 508, 508]
    [limited] = [event for event in control_.world.server.take_events() if isinstance(event, PeersLimited)]
    assert limited.allocation.peers_refused == 2
    control_.world.advance(1.0)
    assert control_.connect(ports[3]) is None


# whom clients may connect to


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "0.0.0.0", "10.0.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "224.0.0.1"),
        *("::1", "::", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "2002:7f00:1::"),
        *("64:ff9b::7f00:1", "fe80::1", "fc00::1", "fec0::1", "2001:0:1::1", "ff02::1", "::ffff:0:7f00:1"),
    ],
)
def test_nothing_private_is_connected_to_in_whatever_form_it_is_written(host: str) -> None:
    control_ = control(world(), BOTH)
    assert control_.connect(Address(host, 8080)) == 403
    assert control_.world.peers.dialled == []


@given(
    st.binary(min_size=12, max_size=12), st.sampled_from([b"\x7f\0\0\1", b"\x0a\0\0\1", b"\xa9\xfe\xa9\xfe"])
)
@settings(max_examples=50)
def test_no_prefix_carries_a_private_address(prefix: bytes, inner: bytes) -> None:
    """What is dialled is what was judged: never an address with another in it that the kernel would take."""
    control_ = control(world(), BOTH)
    transaction = control_.client.transaction()
    value = stun.encode_xor_address(prefix + inner, 8080, transaction)
    message = control_.client.signed(Method.CONNECT, ((TurnAttribute.XOR_PEER_ADDRESS, value),), transaction)
    answer = control_.client.raw(message)
    if answer is None:
        ((_, _, peer),) = control_.world.peers.dialled
        assert peer.ip == prefix + inner
        assert 0x20 <= peer.ip[0] < 0x40, "global unicast"
    else:
        assert code_of(answer) == 403


def test_low_ports_are_not_connected_to_unless_they_are_opened() -> None:
    assert control(world()).connect(Address(PEER.host, 25)) == 403
    assert control(world()).connect(Address(PEER.host, 0)) == 403
    control_ = control(world(peer_ports=(443, 443)))
    assert control_.connect(Address(PEER.host, 443)) is None
    assert control_.connect(PEER) == 403


@pytest.mark.parametrize("public", [True, False])
def test_at_our_own_addresses_only_relayed_ones_of_this_moment_are_reached(public: bool) -> None:
    """A port of the range at which something else listens is none, nor is one that was given back."""
    one = control(world(public=public), BOTH)
    other = control(one.world, BOTH)
    taken = {held.port for held in (*one.relayed, *other.relayed)}
    free = next(port for port in range(50000, 51000) if port not in taken)
    for host in (RELAY_V4, RELAY_V6):
        assert one.connect(Address(host, free)) == 403
        assert one.connect(Address(host, 3478)) == 403
    for held in other.relayed:
        one.connected(held)
    other.client.refresh(0)
    assert control(one.world).connect(other.relayed[0]) == 403


def test_a_relayed_address_of_datagrams_is_none_of_tcp() -> None:
    one = control(world())
    datagrams = one.world.client()
    held = relayed(datagrams.allocate())[0]
    assert one.connect(held) == (403 if held.port not in {at.port for at in one.relayed} else 446)


def test_nobody_connects_to_their_own_relayed_address() -> None:
    control_ = control(world())
    assert control_.connect(control_.relayed[0]) == 403


def test_in_sfu_mode_nobody_but_other_clients_is_reached() -> None:
    one = control(world(public=False))
    assert one.connect(Address("8.8.8.8", 8080)) == 403
    other = control(one.world)
    one.connected(other.relayed[0])


# peers that connect (5.3)


def test_6062_5_3_a_peer_without_a_permission_is_turned_away_and_nobody_hears_of_it() -> None:
    control_ = control(world())
    assert control_.arrives(PEER) is None
    assert control_.client.notes.told == []


def test_6062_5_3_a_permitted_peer_is_told_of() -> None:
    control_ = control(world())
    assert control_.client.permit(PEER) == 200
    arrived = control_.arrives(PEER)
    told = control_.told()
    assert (told.method, told.message_class) == (Method.CONNECTION_ATTEMPT, MessageClass.INDICATION)
    assert id_of(told) == arrived
    value = told.get(TurnAttribute.XOR_PEER_ADDRESS) or b""
    assert stun.decode_xor_address(value, told.transaction_id) == peer_of(PEER)
    assert control_.arrives(OTHER) is None


def test_a_permission_is_over_after_300_s() -> None:
    control_ = control(world())
    control_.client.permit(PEER)
    control_.world.advance(299.9)
    assert control_.arrives(PEER) is not None
    control_.world.advance(0.1)
    assert control_.arrives(Address(PEER.host, 5001)) is None


def test_of_our_own_addresses_only_relayed_ones_are_peers() -> None:
    """A permission for an address of this machine is none for whatever else runs on it."""
    one = control(world())
    other = control(one.world)
    assert one.client.permit(other.relayed[0]) == 200
    assert one.arrives(Address(RELAY_V4, 40000)) is None
    assert one.arrives(other.relayed[0]) is not None


def test_another_client_is_known_by_the_address_that_is_told() -> None:
    """It comes from where its relayed address is bound, which nobody was told."""
    one = control(world())
    other = control(one.world)
    one.client.permit(other.relayed[0])
    assert one.arrives(Address(LEADS[RELAY_V4], other.relayed[0].port)) is not None
    told = one.told()
    value = told.get(TurnAttribute.XOR_PEER_ADDRESS) or b""
    assert stun.decode_xor_address(value, told.transaction_id) == peer_of(other.relayed[0])
    assert one.arrives(Address(LEADS[RELAY_V4], 40000)) is None


def test_6062_5_3_what_the_client_does_not_take_is_kept_for_30_s() -> None:
    control_ = control(world())
    control_.client.permit(PEER)
    arrived = control_.arrives(PEER)
    assert arrived is not None
    control_.world.advance(29.9)
    assert control_.world.peers.closed == []
    control_.world.advance(0.1)
    assert control_.world.peers.closed == [arrived]
    assert ends(control_.world) == [ConnectionEnd.UNBOUND]
    assert control_.bind(arrived)[0] == 400


def test_a_flood_of_peers_leaves_room_for_what_the_client_opens() -> None:
    control_ = control(world(connections_each=4, pending=3))
    control_.client.permit(PEER)
    arrived = [control_.arrives(Address(PEER.host, 6000 + number)) for number in range(100)]
    assert [number for number, at in enumerate(arrived) if at is not None] == [0, 1, 2]
    assert len(control_.client.notes.told) == 3
    control_.read = 3
    control_.connected(OTHER)
    control_.world.advance(30.0)
    assert control_.arrives(Address(PEER.host, 7000)) is not None


@pytest.mark.parametrize("bound", [False, True])
def test_a_peer_that_comes_again_from_the_same_port_has_lost_the_first(bound: bool) -> None:
    control_ = control(world())
    control_.client.permit(PEER)
    first = control_.arrives(PEER)
    assert first is not None
    if bound:
        assert control_.bind(first)[0] == 200
    second = control_.arrives(PEER)
    assert second is not None
    assert control_.world.peers.closed == [first]
    assert ends(control_.world) == [ConnectionEnd.REPLACED]
    assert control_.bind(second)[0] == 200


# ConnectionBind (5.4)


def test_6062_5_4_a_pending_connection_is_joined_to_the_one_that_asks() -> None:
    control_ = control(world())
    control_.client.permit(PEER)
    for made in (control_.connected(OTHER), control_.arrives(PEER)):
        assert made is not None
        code, data = control_.bind(made)
        assert code == 200
        assert control_.world.peers.bound[made] == data.tuple
    control_.world.advance(100)
    assert control_.world.peers.closed == []


def test_6062_5_4_none_and_an_unknown_one_are_bad_requests() -> None:
    control_ = control(world())
    made = control_.connected(PEER)
    data = Client(control_.world, control_.client.minted, Transport.TCP)
    assert data.code(Method.CONNECTION_BIND) == 400
    assert data.code(Method.CONNECTION_BIND, (TurnAttribute.CONNECTION_ID, b"\1")) == 400
    assert control_.bind(made ^ 1)[0] == 400
    assert control_.bind(made, by=data)[0] == 200


def test_6062_5_4_over_udp_it_is_a_bad_request() -> None:
    control_ = control(world())
    made = control_.connected(PEER)
    datagrams = Client(control_.world, control_.client.minted, Transport.UDP)
    assert control_.bind(made, by=datagrams)[0] == 400
    assert control_.bind(made)[0] == 200


def test_on_a_connection_with_an_allocation_it_is_a_bad_request() -> None:
    control_ = control(world())
    made = control_.connected(PEER)
    assert control_.bind(made, by=control_.client)[0] == 400


def test_a_connection_is_bound_once() -> None:
    control_ = control(world())
    made = control_.connected(PEER)
    assert control_.bind(made)[0] == 200
    assert control_.bind(made)[0] == 400


def test_one_that_has_not_come_about_is_bound_to_nobody() -> None:
    control_ = control(world())
    assert control_.connect(PEER) is None
    assert control_.bind(control_.world.peers.dialled[0][0])[0] == 400


def test_another_users_connection_is_as_unknown_as_one_that_there_is_not() -> None:
    control_ = control(world())
    made = control_.connected(PEER)
    thief = control_.world.client(transport=Transport.TCP)
    assert control_.bind(made, by=thief)[0] == 400
    thief.code(Method.ALLOCATE, TCP)
    assert control_.world.peers.bound == {}
    assert control_.bind(made)[0] == 200


def test_without_the_password_nothing_is_bound() -> None:
    control_ = control(world())
    made = control_.connected(PEER)
    value = (TurnAttribute.CONNECTION_ID, wire.encode_connection_id(made))
    data = Client(control_.world, control_.client.minted, Transport.TCP)
    unsigned = data.raw(stun.build(Method.CONNECTION_BIND, MessageClass.REQUEST, bytes(12), [value]))
    assert unsigned is not None
    assert code_of(unsigned) == 401
    forger = Client(control_.world, replace(control_.client.minted, password="guessed"), Transport.TCP)
    answer = forger.raw(forger.signed(Method.CONNECTION_BIND, (value,), bytes(12)))
    assert answer is not None
    assert code_of(answer) == 401
    assert control_.world.peers.bound == {}


def test_one_that_can_not_be_joined_is_closed() -> None:
    control_ = control(world())
    made = control_.connected(PEER)
    control_.world.peers.can_bind = False
    assert control_.bind(made)[0] == 508
    assert control_.world.peers.closed == [made]


@given(st.lists(st.binary(max_size=9), max_size=8))
@settings(max_examples=100)
def test_no_value_of_connection_id_takes_a_connection_but_its_own(values: list[bytes]) -> None:
    control_ = control(world())
    made = control_.connected(PEER)
    right = wire.encode_connection_id(made)
    data = Client(control_.world, control_.client.minted, Transport.TCP)
    for value in values:
        attributes = [(TurnAttribute.CONNECTION_ID, value)]
        if value != right:
            assert data.code(Method.CONNECTION_BIND, *attributes) == 400
    assert control_.bind(made, by=data)[0] == 200


# the end (5.5)


def bound(control_: Control, peer: Address) -> tuple[ConnectionId, Client]:
    made = control_.connected(peer)
    code, data = control_.bind(made)
    assert code == 200
    return made, data


def test_6062_5_5_a_connection_ends_with_the_clients_and_is_accounted_for() -> None:
    control_ = control(world())
    made, data = bound(control_, PEER)
    control_.world.server.take_events()
    control_.world.server.disconnected(data.tuple)
    (event,) = control_.world.server.take_events()
    assert isinstance(event, Disconnected)
    assert (event.reason, event.peer) == (ConnectionEnd.CLOSED, peer_of(PEER))
    assert event.usage == Usage(to_peers_bytes=10, to_client_bytes=20)
    assert control_.world.peers.closed == [made]
    control_.world.server.disconnected(data.tuple)


@pytest.mark.parametrize("how", ["released", "expired", "revoked", "disconnected", "stopped"])
def test_6062_5_5_the_end_of_an_allocation_is_that_of_all_its_connections(how: str) -> None:
    """Of those that are being made too, whose requests are answered; and its relayed address is closed."""
    control_ = control(world(), BOTH)
    other = control(control_.world)
    kept = other.connected(PEER)
    was_bound, _ = bound(control_, PEER)
    pending = control_.connected(OTHER)
    control_.connect(PEER_V6)
    connecting = control_.world.peers.dialled[-1][0]
    server, told = control_.world.server, control_.client.notes.told
    server.take_events()
    match how:
        case "released":
            control_.client.refresh(0)
        case "expired":
            server.handle_timer(control_.world.now + 599)
            other.client.refresh(600)
            control_.world.advance(600)
        case "revoked":
            server.revoke(control_.client.minted.username)
        case "disconnected":
            server.disconnected(control_.client.tuple)
        case _:
            server.stop()
    closed = control_.world.peers.closed
    assert {was_bound, pending, connecting} <= set(closed)
    assert code_of(stun.parse(told[-1])) == 447
    if how in ("released", "revoked", "disconnected"):
        assert kept not in closed
        assert len(control_.world.peers.listening) == 1
    events = server.take_events()
    ended = [at for at, event in enumerate(events) if isinstance(event, Ended)]
    assert ended
    assert control_.bind(pending)[0] in (400, 401)


def test_the_end_of_a_family_ends_its_connections_alone() -> None:
    control_ = control(world(), BOTH)
    first, _ = bound(control_, PEER)
    second, _ = bound(control_, PEER_V6)
    control_.client.refresh(0, IPV6)
    assert control_.world.peers.closed == [second]
    assert [size for _, size in control_.world.peers.listening] == [4]
    assert control_.connect(Address(PEER_V6.host, 6000)) == 443
    control_.client.refresh(0)
    assert control_.world.peers.closed == [second, first]
    assert control_.world.open_sockets() == 0


# what there is not on TCP allocations


def test_channels_are_not_bound_on_an_allocation_of_tcp() -> None:
    control_ = control(world())
    assert control_.client.bind(0x4000, PEER) == 403
    assert control_.client.notes.channels == {}
    assert control_.client.notes.permissions == {}


def test_a_dual_allocation_of_tcp_is_refreshed_whole() -> None:
    control_ = control(world(), BOTH)
    control_.world.advance(500)
    assert code_of(control_.client.refresh(600)) == 200
    control_.world.advance(500)
    assert len(control_.world.peers.listening) == 2
