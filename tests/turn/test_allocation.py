"""What one allocation holds, and when it forgets it."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sfu.net.address import Address
from tests.turn.world import NoSocket
from turn.allocation import CHANNEL_S, PERMISSION_S, Allocation, AllocationId, Peer, Relayed
from turn.credentials import Credential
from turn.ports import Taken
from turn.tuples import FiveTuple, Transport

CREDENTIAL = Credential("1800000000:alice", None, "alice", 1_800_000_000)
CLIENT = FiveTuple(Transport.UDP, Address("192.0.2.1", 40000), Address("192.0.2.2", 3478))
A, B = bytes((192, 0, 2, 10)), bytes((192, 0, 2, 11))
SIX = b"\x20\x01" + bytes(13) + b"\x01"


def allocation() -> Allocation:
    held = Allocation(AllocationId(1), CLIENT, CREDENTIAL, bytes(12), 0.0)
    held.relayed = {
        4: Relayed(Taken("192.0.2.2", 50000, NoSocket("192.0.2.2", 50000)), 600.0),
        16: Relayed(Taken("::1", 50002, NoSocket("::1", 50002)), 700.0),
    }
    return held


def test_it_lasts_as_long_as_the_first_of_its_relayed_addresses() -> None:
    assert allocation().expires_at == 600.0


def test_P1_a_permission_lasts_300_seconds_and_counts_no_port() -> None:
    held = allocation()
    assert held.permit(A, 10.0) == 10.0 + PERMISSION_S == 310.0
    assert held.is_permitted(A, 309.9)
    assert not held.is_permitted(A, 310.0)
    assert not held.is_permitted(B, 11.0)


def test_permissions_that_are_over_make_room_for_others() -> None:
    held = allocation()
    held.permit(A, 0.0)
    assert not held.room_for_permissions({B}, 1, 299.0)
    assert held.room_for_permissions({A}, 1, 299.0)
    assert held.room_for_permissions({B}, 1, 300.0)


def test_C2_a_channel_lasts_600_seconds_from_each_binding() -> None:
    held = allocation()
    peer = Peer(A, 1)
    assert held.bind(0x4000, peer, 0.0) == CHANNEL_S == 600.0
    assert held.bind(0x4000, peer, 500.0) == 1100.0
    assert held.channel_conflicts(0x4000, Peer(B, 1), 1099.0)
    assert not held.channel_conflicts(0x4000, Peer(B, 1), 1100.0)


def test_C1_neither_a_number_nor_a_peer_is_bound_twice() -> None:
    held = allocation()
    held.bind(0x4000, Peer(A, 1), 0.0)
    assert held.channel_conflicts(0x4000, Peer(A, 2), 1.0)
    assert held.channel_conflicts(0x4001, Peer(A, 1), 1.0)
    assert not held.channel_conflicts(0x4000, Peer(A, 1), 1.0)
    assert not held.channel_conflicts(0x4001, Peer(A, 2), 1.0)


def test_T16_the_end_of_one_family_leaves_the_others_permissions_and_channels() -> None:
    held = allocation()
    held.permit(A, 0.0)
    held.permit(SIX, 0.0)
    held.bind(0x4000, Peer(A, 1), 0.0)
    held.bind(0x4001, Peer(SIX, 1), 0.0)
    held.forget_family(4)
    assert held.expires_at == 700.0
    assert not held.is_permitted(A, 1.0)
    assert held.is_permitted(SIX, 1.0)
    assert not held.channel_conflicts(0x4000, Peer(SIX, 2), 1.0)
    assert held.channel_conflicts(0x4001, Peer(SIX, 2), 1.0)


class Channels(RuleBasedStateMachine):
    """Numbers and peers against a plain list of bindings."""

    def __init__(self) -> None:
        super().__init__()
        self.held = allocation()
        self.now = 0.0
        self.bindings: list[tuple[int, Peer, float]] = []

    @rule(number=st.integers(0x4000, 0x4003), port=st.integers(1, 4))
    def bind(self, number: int, port: int) -> None:
        peer = Peer(A, port)
        alive = [(n, p) for n, p, until in self.bindings if until > self.now]
        conflicts = any((n == number) != (p == peer) for n, p in alive)
        assert self.held.channel_conflicts(number, peer, self.now) is conflicts
        if not conflicts:
            until = self.held.bind(number, peer, self.now)
            kept = [b for b in self.bindings if b[0] != number and b[1] != peer]
            self.bindings = [*kept, (number, peer, until)]

    @rule(seconds=st.integers(1, 400))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def room_is_what_the_living_leave(self) -> None:
        alive = {number for number, _, until in self.bindings if until > self.now}
        assert self.held.room_for_channel(0x4FFF, 4, self.now) is (len(alive) < 4)


TestChannels = Channels.TestCase
TestChannels.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
