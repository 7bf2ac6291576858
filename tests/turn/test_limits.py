"""Every limit: what it lets pass, what it refuses, and that a refusal is counted."""

from __future__ import annotations

import ipaddress
from dataclasses import fields
from typing import Any, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prometheus_client import REGISTRY

from sfu.base.settings import ByteSize, Config, Setting
from turn import limits
from turn.limits import Bounds, Limit, Limits, Strangers, bounds_of, network_of, refuse


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


HERE = ip("192.0.2.1")
SECRET = bytes(range(16))  # with it, no two addresses of these tests share a slot


def refused(limit: Limit) -> float:
    return REGISTRY.get_sample_value("orchard_turn_refused_total", {"limit": limit.value}) or 0.0


# settings


def declared() -> list[Setting[Any]]:
    values: list[object] = list(vars(limits).values())
    return [cast("Setting[Any]", value) for value in values if isinstance(value, Setting)]


def test_the_defaults_are_what_a_careful_server_ships_with() -> None:
    assert bounds_of(Config()) == Bounds()
    assert {field.name: getattr(Bounds(), field.name) for field in fields(Bounds)} == {
        "allocations": 5000,
        "allocations_per_user": 10,
        "allocations_per_address": 100,
        "lifetime_s": 3600,
        "permissions": 64,
        "channels": 64,
        "last_channel": 0x7FFF,
        "peers_per_s": 10.0,
        "peers_burst": 50,
        "packets_per_s": 10_000,
        "bytes_per_s": 12_500_000,
        "replies_per_s": 20.0,
        "failures_per_min": 10,
        "rate_slots": 16_384,
        "nonce_s": 600,
        "credential_s": 3600,
        "credential_most_s": 48 * 3600,
        "handshake_s": 10.0,
        "message_s": 10.0,
        "unallocated_s": 30.0,
        "strangers": 1000,
        "strangers_per_address": 20,
        "stranger_bytes": 2048,
        "control_bytes": 4096,
        "write_queue_bytes": 256 * 1024,
        "proxy_header_s": 5.0,
        "proxy_header_bytes": 4096,
    }


def test_every_setting_changes_a_bound() -> None:
    assert len(declared()) >= len(fields(Bounds))
    for setting in declared():
        default: Any = setting.default
        other: Any = (
            not default if setting.kind is bool else ByteSize(1234) if setting.kind is ByteSize else 1234
        )
        assert bounds_of(Config({setting: other})) != Bounds(), setting.name


def test_a_bandwidth_of_a_bit_is_not_none_at_all() -> None:
    assert bounds_of(Config({limits.BITS_PER_SECOND: 1})).bytes_per_s == 1
    assert bounds_of(Config({limits.BITS_PER_SECOND: 0})).bytes_per_s == 0


def test_a_credential_lasts_no_longer_by_default_than_it_may() -> None:
    assert bounds_of(Config({limits.CREDENTIAL_MOST_S: 900})).credential_s == 900


def test_strict_channels_end_at_0x4fff() -> None:
    assert bounds_of(Config({limits.STRICT_CHANNELS: True})).last_channel == 0x4FFF


@pytest.mark.parametrize("limit", list(Limit))
def test_what_is_refused_is_counted_by_limit(limit: Limit) -> None:
    before = refused(limit)
    assert refuse(limit) is False
    assert refused(limit) == before + 1


# allocations


def test_t10_a_user_has_ten_allocations_from_wherever_and_another_user_has_its_own() -> None:
    taken = Limits(Bounds())
    before = refused(Limit.USER)
    for number in range(10):
        assert taken.may_allocate("a", ip(f"192.0.2.{number}"))
        taken.allocated("a", ip(f"192.0.2.{number}"))
    assert not taken.may_allocate("a", ip("198.51.100.1"))
    assert refused(Limit.USER) == before + 1
    assert taken.may_allocate("b", ip("192.0.2.1"))
    taken.ended("a", ip("192.0.2.3"), 3)
    assert taken.may_allocate("a", ip("198.51.100.1"))


@pytest.mark.parametrize(
    ("client", "neighbour", "elsewhere"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:2::1"),
    ],
)
def test_an_address_has_so_many_allocations_whoever_asks(client: str, neighbour: str, elsewhere: str) -> None:
    taken = Limits(Bounds(allocations_per_address=100))
    before = refused(Limit.ADDRESS)
    for number in range(100):
        assert taken.may_allocate(f"user {number}", ip(client))
        taken.allocated(f"user {number}", ip(client))
    assert not taken.may_allocate("another", ip(neighbour))
    assert refused(Limit.ADDRESS) == before + 1
    assert taken.may_allocate("another", ip(elsewhere))


def test_the_process_has_so_many_allocations() -> None:
    taken = Limits(Bounds(allocations=3))
    before = refused(Limit.ALLOCATIONS)
    for number in range(3):
        assert taken.has_room()
        taken.allocated(str(number), HERE)
    assert not taken.has_room()
    assert refused(Limit.ALLOCATIONS) == before + 1
    taken.ended("1", HERE, 1)
    assert taken.has_room()


def test_asking_charges_nothing() -> None:
    taken = Limits(Bounds(allocations=1, allocations_per_user=1, allocations_per_address=1))
    assert all(taken.has_room() and taken.may_allocate("a", HERE) for _ in range(100))


def test_an_allocation_that_was_never_charged_can_not_end() -> None:
    taken = Limits(Bounds())
    taken.allocated("a", HERE)
    with pytest.raises(KeyError):
        taken.ended("b", HERE, 1)
    taken.ended("a", HERE, 1)
    with pytest.raises(KeyError):
        taken.ended("a", HERE, 1)
    assert len(taken) == 0


class AnyOrder(RuleBasedStateMachine):
    """Quotas against the list of allocations that there are."""

    users = st.sampled_from(["a", "b", "c"])
    addresses = st.sampled_from(
        [ip(text) for text in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")]
    )

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(Bounds(allocations=6, allocations_per_user=3, allocations_per_address=2))
        self.there: list[tuple[str, bytes, int]] = []
        self.made = 0

    @rule(user=users, address=addresses)
    def allocate(self, user: str, address: bytes) -> None:
        of_user = sum(holder == user for holder, _, _ in self.there)
        of_address = sum(network_of(at) == network_of(address) for _, at, _ in self.there)
        assert self.limits.has_room() == (len(self.there) < 6)
        assert self.limits.may_allocate(user, address) == (of_user < 3 and of_address < 2)
        if len(self.there) < 6 and of_user < 3 and of_address < 2:
            self.made += 1
            self.limits.allocated(user, address)
            self.limits.may_add_peers(self.made, 1, 0.0)
            self.there.append((user, address, self.made))

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.limits.ended(*self.there.pop(data.draw(st.integers(0, len(self.there) - 1))))

    @invariant()
    def nothing_is_kept_of_what_is_gone(self) -> None:
        assert len(self.limits) == len(self.there)
        held = vars(self.limits)
        assert len(held["_users"]) == len({user for user, _, _ in self.there})
        assert len(held["_addresses"]) == len({network_of(address) for _, address, _ in self.there})
        assert held["_peers"].keys() == {number for _, _, number in self.there}


TestAnyOrder = AnyOrder.TestCase


# new peers


def test_an_allocation_names_fifty_new_peers_at_once_then_ten_a_second() -> None:
    taken = Limits(Bounds())
    before = refused(Limit.PEERS)
    assert taken.may_add_peers(1, 50, 100.0)
    assert not taken.may_add_peers(1, 1, 100.0)
    assert refused(Limit.PEERS) == before + 1
    assert taken.may_add_peers(1, 10, 101.0)
    assert not taken.may_add_peers(1, 1, 101.0)
    assert taken.may_add_peers(2, 50, 101.0)  # another allocation has its own


def test_peers_are_granted_all_or_none() -> None:
    taken = Limits(Bounds())
    assert taken.may_add_peers(1, 45, 0.0)
    assert not taken.may_add_peers(1, 6, 0.0)
    assert taken.may_add_peers(1, 5, 0.0)


def test_a_new_allocation_begins_anew() -> None:
    taken = Limits(Bounds())
    taken.allocated("a", HERE)
    assert taken.may_add_peers(1, 50, 0.0)
    taken.ended("a", HERE, 1)
    assert taken.may_add_peers(1, 50, 0.0)


# strangers


@pytest.mark.parametrize(
    ("client", "neighbour", "elsewhere"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:2::1"),
    ],
)
def test_an_address_gets_twenty_error_replies_a_second(client: str, neighbour: str, elsewhere: str) -> None:
    taken = Limits(Bounds(), SECRET)
    before = refused(Limit.REPLIES)
    assert all(taken.may_reply(ip(client), 50.0) for _ in range(20))
    assert not taken.may_reply(ip(neighbour), 50.0)
    assert refused(Limit.REPLIES) == before + 1
    assert sum(taken.may_reply(ip(client), 50.0 + at / 1000) for at in range(1, 1001)) == 20
    assert taken.may_reply(ip(elsewhere), 50.0)


def test_a_slow_rate_of_replies_still_lets_one_pass() -> None:
    taken = Limits(Bounds(replies_per_s=0.1))
    assert taken.may_reply(HERE, 0.0)
    assert not taken.may_reply(HERE, 9.9)
    assert taken.may_reply(HERE, 10.0)


def test_ten_wrong_passwords_of_a_user_at_an_address_are_answered_in_a_minute() -> None:
    taken = Limits(Bounds(), SECRET)
    before = refused(Limit.FAILURES)
    assert all(taken.may_fail(HERE, b"user", 0.0) for _ in range(10))
    assert not taken.may_fail(HERE, b"user", 0.0)
    assert refused(Limit.FAILURES) == before + 1
    assert sum(taken.may_fail(HERE, b"user", at / 10) for at in range(1, 601)) == 10
    assert taken.may_fail(HERE, b"another", 0.0)
    assert taken.may_fail(ip("192.0.2.2"), b"user", 0.0)


def test_an_ipv4_address_and_a_network_are_not_taken_for_each_other() -> None:
    taken = Limits(Bounds(failures_per_min=1), SECRET)
    assert taken.may_fail(HERE, b"\x20\x01\x0d\xb8user", 0.0)
    assert taken.may_fail(HERE + b"\x20\x01\x0d\xb8" + bytes(8), b"user", 0.0)


def test_connections_of_strangers_are_bounded_in_all_and_for_each_address() -> None:
    strangers = Strangers(Bounds(strangers=30, strangers_per_address=20))
    in_all, of_one = refused(Limit.STRANGERS), refused(Limit.STRANGERS_PER_ADDRESS)
    assert [strangers.admit(HERE) for _ in range(22)] == [True] * 20 + [False] * 2
    assert refused(Limit.STRANGERS_PER_ADDRESS) == of_one + 2
    assert [strangers.admit(ip(f"198.51.100.{number}")) for number in range(11)] == [True] * 10 + [False]
    assert refused(Limit.STRANGERS) == in_all + 1
    strangers.leave(HERE)
    assert len(strangers) == 29
    assert strangers.admit(HERE)
    with pytest.raises(KeyError):
        strangers.leave(ip("203.0.113.1"))
    assert len(strangers) == 30
