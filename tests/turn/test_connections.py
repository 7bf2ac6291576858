"""The table of connections with peers."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sfu.base.settings import SettingsError, load
from sfu.net.address import Address
from sfu.wire import stun
from sfu.wire.stun import MessageClass
from sfu.wire.turn import Method
from turn.allocation import Allocation, AllocationId, Peer
from turn.auth import Authenticated
from turn.connections import (
    BIND_S,
    CONNECT_S,
    PEER_CONNECTIONS_EACH,
    PEER_PORTS,
    Connection,
    ConnectionBounds,
    Connections,
    State,
    connection_bounds_of,
)
from turn.credentials import Credential
from turn.requests import Request
from turn.tuples import FiveTuple, RelayTransport, Transport

if TYPE_CHECKING:
    from turn.connections import ConnectionId

SERVER = Address("192.0.2.2", 3478)
CREDENTIAL = Credential("name", None, "", 10**9)
PEERS = [Peer(bytes([192, 0, 2, number]), 5000) for number in range(10, 15)]


def client(port: int) -> FiveTuple:
    return FiveTuple(Transport.TCP, Address("192.0.2.1", port), SERVER)


def allocation(number: int = 1) -> Allocation:
    return Allocation(AllocationId(number), client(number), CREDENTIAL, bytes(12), 0.0, RelayTransport.TCP)


def request(now: float) -> Request:
    message = stun.parse(stun.build(Method.CONNECT, MessageClass.REQUEST, bytes(12)))
    return Request(message, client(1), Authenticated(CREDENTIAL, b"key", is_sha256=False), now, now)


def test_a_connection_that_is_made_waits_to_be_bound_and_no_longer() -> None:
    connections = Connections(ConnectionBounds(), random.Random(1))
    made = connections.dialled(allocation(), PEERS[0], request(100.0))
    assert connections.timer_at() == 130.0
    connections.made(made, 110.0)
    assert (made.state, connections.timer_at()) == (State.PENDING, 140.0)
    assert connections.take_due(139.9) == []
    assert connections.take_due(140.0) == [made]


def test_one_that_is_bound_waits_for_nothing_and_is_found_by_its_client() -> None:
    connections = Connections(ConnectionBounds(), random.Random(1))
    opened = connections.accepted(allocation(), PEERS[0], 100.0)
    assert connections.timer_at() == 130.0
    connections.bound(opened, client(9))
    assert connections.timer_at() is None
    assert connections.of_client(client(9)) is opened
    connections.remove(opened)
    assert connections.of_client(client(9)) is None
    assert (len(connections), connections.of(AllocationId(1))) == (0, [])


def test_what_is_removed_twice_is_a_fault() -> None:
    connections = Connections(ConnectionBounds(), random.Random(1))
    opened = connections.accepted(allocation(), PEERS[0], 100.0)
    connections.remove(opened)
    with pytest.raises(KeyError):
        connections.remove(opened)


def test_ids_are_drawn_from_all_and_none_is_given_twice() -> None:
    class Loaded(random.Random):
        drawn = itertools.chain([7, 7, 7, 0xFFFFFFFF], itertools.count())

        def getrandbits(self, bits: int) -> int:
            assert bits == 32
            return next(self.drawn)

    connections = Connections(ConnectionBounds(), Loaded())
    ids = [connections.accepted(allocation(), peer, 0.0).id for peer in PEERS[:2]]
    assert ids == [7, 0xFFFFFFFF]


def test_by_default_ids_come_from_the_systems_random_numbers() -> None:
    ids = {Connections(ConnectionBounds()).accepted(allocation(), PEERS[0], 0.0).id for _ in range(8)}
    assert len(ids) == 8


def test_peers_can_not_take_all_the_room_of_an_allocation() -> None:
    connections = Connections(ConnectionBounds(connections_each=3, pending=2), random.Random(1))
    held, other = allocation(1), allocation(2)
    for peer in PEERS[:2]:
        connections.accepted(held, peer, 0.0)
    assert not connections.has_room(held.id, by_peer=True)
    assert connections.has_room(held.id, by_peer=False)
    assert connections.has_room(other.id, by_peer=True)
    connections.dialled(held, PEERS[2], request(0.0))
    assert not connections.has_room(held.id, by_peer=False)


def test_what_a_client_has_taken_does_not_count_as_waiting() -> None:
    connections = Connections(ConnectionBounds(pending=1), random.Random(1))
    held = allocation()
    opened = connections.accepted(held, PEERS[0], 0.0)
    assert not connections.has_room(held.id, by_peer=True)
    connections.bound(opened, client(9))
    assert connections.has_room(held.id, by_peer=True)


def test_all_together_have_a_bound_too() -> None:
    connections = Connections(ConnectionBounds(connections=2), random.Random(1))
    for number in (1, 2):
        connections.accepted(allocation(number), PEERS[0], 0.0)
    assert not connections.has_room(AllocationId(3), by_peer=False)


class Model(RuleBasedStateMachine):
    """Any order of events: what is counted and found is what there is."""

    BOUNDS = ConnectionBounds(connections=6, connections_each=3, pending=2)

    def __init__(self) -> None:
        super().__init__()
        self.connections = Connections(self.BOUNDS, random.Random(1))
        self.allocations = [allocation(number) for number in (1, 2, 3)]
        self.there: dict[ConnectionId, Connection] = {}
        self.ports = itertools.count(1000)
        self.now = 0.0

    def _may(self, held: Allocation, peer: Peer, *, by_peer: bool) -> bool:
        of = [there for there in self.there.values() if there.allocation is held]
        waiting = [there for there in of if there.request is None and there.state is State.PENDING]
        free = (
            len(self.there) < self.BOUNDS.connections
            and len(of) < self.BOUNDS.connections_each
            and (not by_peer or len(waiting) < self.BOUNDS.pending)
        )
        assert self.connections.has_room(held.id, by_peer=by_peer) == free
        return free and all(there.peer != peer for there in of)

    def _some(self, at: int, *states: State) -> Connection | None:
        found = [there for there in self.there.values() if there.state in states]
        return found[at % len(found)] if found else None

    @rule(at=st.integers(0, 2), peer=st.sampled_from(PEERS))
    def client_connects(self, at: int, peer: Peer) -> None:
        if self._may(self.allocations[at], peer, by_peer=False):
            made = self.connections.dialled(self.allocations[at], peer, request(self.now))
            self.there[made.id] = made

    @rule(at=st.integers(0, 2), peer=st.sampled_from(PEERS))
    def peer_connects(self, at: int, peer: Peer) -> None:
        if self._may(self.allocations[at], peer, by_peer=True):
            made = self.connections.accepted(self.allocations[at], peer, self.now)
            self.there[made.id] = made

    @rule(at=st.integers(0, 9))
    def comes_about(self, at: int) -> None:
        some = self._some(at, State.CONNECTING)
        if some is not None:
            self.connections.made(some, self.now)

    @rule(at=st.integers(0, 9))
    def is_bound(self, at: int) -> None:
        some = self._some(at, State.PENDING)
        if some is not None:
            self.connections.bound(some, client(next(self.ports)))

    @precondition(lambda self: self.there)
    @rule(at=st.integers(0, 9))
    def ends(self, at: int) -> None:
        some = self._some(at, *State)
        assert some is not None
        self.connections.remove(some)
        del self.there[some.id]

    @rule(seconds=st.sampled_from([1.0, 10.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for due in self.connections.take_due(self.now):
            assert due.state is not State.BOUND
            self.connections.remove(due)
            del self.there[due.id]

    @invariant()
    def all_is_found(self) -> None:
        assert len(self.connections) == len(self.there)
        for held in self.allocations:
            of = [there for there in self.there.values() if there.allocation is held]
            assert sorted(found.id for found in self.connections.of(held.id)) == sorted(c.id for c in of)
            for there in of:
                assert self.connections.get(there.id) is there
                assert self.connections.with_peer(held.id, there.peer) is there
                if there.client is not None:
                    assert self.connections.of_client(there.client) is there
        waits = any(there.state is not State.BOUND for there in self.there.values())
        assert (self.connections.timer_at() is not None) == waits


TestModel = Model.TestCase


# settings


def values(**given_: Any) -> ConnectionBounds:
    return connection_bounds_of(
        load({f"turn.{name}": str(value) for name, value in given_.items()}, {}, None)
    )


def test_the_bounds_are_as_the_settings_say() -> None:
    assert values() == ConnectionBounds()
    assert values(
        peer_connections=1,
        peer_connections_per_allocation=2,
        peer_connections_pending=3,
        tcp_peer_ports="443",
        connect_timeout=31,
        bind_timeout=4,
        half_closed_timeout=5,
    ) == ConnectionBounds(1, 2, 3, (443, 443), 31.0, 4.0, 5.0)


def test_the_times_of_the_rfc_are_the_defaults() -> None:
    """RFC 6062 5.2: a connection may take 30 s at least; it is closed when nobody has bound it after 30 s."""
    assert (CONNECT_S.default, BIND_S.default) == (30.0, 30.0)
    for setting, value in (
        (CONNECT_S, "29"),
        (BIND_S, "31"),
        (PEER_CONNECTIONS_EACH, "0"),
        (PEER_PORTS, "x"),
    ):
        with pytest.raises(SettingsError):
            load({setting.name: value}, {}, None)


@given(st.integers(0, 0xFFFFFFFF))
def test_an_id_that_was_not_given_is_nobodys(guess: int) -> None:
    connections = Connections(ConnectionBounds(), random.Random(1))
    opened = connections.accepted(allocation(), PEERS[0], 0.0)
    assert (connections.get(guess) is None) == (guess != opened.id)  # type: ignore[arg-type]
