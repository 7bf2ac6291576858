"""Ports of relayed addresses: none twice, none lost, pairs, reservations, and chance."""

from __future__ import annotations

import itertools
import socket
from collections import Counter
from random import Random
from secrets import SystemRandom

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sfu.base.settings import SettingsError
from turn.ports import PORTS, RelayPorts, RelaySocket, Taken, parse_range

HOST = "192.0.2.1"
OTHER = "2001:db8::1"


class System:
    """The kernel's side: which ports are bound, and which another program holds."""

    def __init__(self) -> None:
        self.bound: set[tuple[str, int]] = set()
        self.foreign: set[tuple[str, int]] = set()
        self.tried: list[tuple[str, int]] = []
        self.out_of_descriptors_after: int | None = None

    def bind(self, host: str, port: int) -> RelaySocket | None:
        self.tried.append((host, port))
        if self.out_of_descriptors_after is not None:
            if self.out_of_descriptors_after == 0:
                raise OSError(24, "Too many open files")
            self.out_of_descriptors_after -= 1
        assert (host, port) not in self.bound, "a port was given out twice"
        if (host, port) in self.foreign:
            return None
        self.bound.add((host, port))
        return Sock(self, host, port)


class Sock:
    """A bound socket."""

    def __init__(self, system: System, host: str, port: int) -> None:
        self._system = system
        self._name = host, port

    def fileno(self) -> int:
        return 3

    def detach(self) -> int:
        return 3

    def close(self) -> None:
        self._system.bound.remove(self._name)


def make(low: int, high: int, **more: int) -> tuple[RelayPorts, System]:
    system = System()
    return RelayPorts(low, high, bind=system.bind, random=Random(7), **more), system


def give_back(ports: RelayPorts, taken: Taken) -> None:
    taken.sock.close()
    ports.release(taken.host, taken.port)


def take_all(ports: RelayPorts, host: str = HOST) -> list[Taken]:
    found: list[Taken] = []
    while (taken := ports.take(host)) is not None:
        found.append(taken)
    return found


# choice


def test_t12_ports_come_from_the_dynamic_range_and_the_systems_random_numbers_by_default() -> None:
    assert parse_range(PORTS.default) == (49152, 65535)
    ports = RelayPorts(*parse_range(PORTS.default), bind=System().bind)
    assert isinstance(vars(ports)["_random"], SystemRandom)
    taken = ports.take(HOST)
    assert taken is not None
    assert 49152 <= taken.port <= 65535


def test_t12_every_free_port_is_as_likely_as_any_other() -> None:
    ports, _ = make(2000, 2007)
    kept = ports.take(HOST)
    assert kept is not None
    seen: Counter[int] = Counter()
    for _ in range(7000):
        taken = ports.take(HOST)
        assert taken is not None
        seen[taken.port] += 1
        give_back(ports, taken)
    assert seen.keys() == set(range(2000, 2008)) - {kept.port}
    assert all(800 < count < 1200 for count in seen.values())  # 1000 each; 200 more or less is 7 sigma


def test_t12_two_ports_in_a_row_are_no_sequence() -> None:
    ports, _ = make(49152, 65535)
    taken = [taken.port for _ in range(100) if (taken := ports.take(HOST)) is not None]
    steps = [later - earlier for earlier, later in itertools.pairwise(taken)]
    assert len(set(steps)) > 90


@pytest.mark.parametrize(("low", "high"), [(0, 2000), (1023, 2000), (2000, 1999), (2000, 65536)])
def test_t12_a_range_with_well_known_ports_or_none_is_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="want a range"):
        make(low, high)


@pytest.mark.parametrize("text", ["1023-2000", "80", "2000-1999", "2000-65536", "2000-", "-2000", "a-b", ""])
def test_t12_a_setting_with_well_known_ports_or_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--turn-relay-ports"):
        PORTS.parse(text, PORTS.flag)


def test_t12_a_range_may_be_of_all_ports_that_are_not_well_known() -> None:
    ports, _ = make(1024, 65535)
    assert ports.range == (1024, 65535)
    assert len(take_all(ports)) == 65535 - 1023


@pytest.mark.parametrize("text", ["1024-65535", "2000", "50000-50001"])
def test_t12_a_setting_with_other_ports_is_taken(text: str) -> None:
    assert PORTS.parse(text, PORTS.flag) == text


# one owner each


def test_t14_every_port_is_given_out_once_and_then_there_is_none() -> None:
    ports, _ = make(2000, 2099)
    assert {taken.port for taken in take_all(ports)} == set(range(2000, 2100))
    assert ports.take(HOST) is None
    assert ports.take_even(HOST) is None
    assert ports.take_pair(HOST, "a", 0.0) is None


def test_t14_the_ports_of_one_host_are_not_those_of_another() -> None:
    ports, _ = make(2000, 2009)
    assert len(take_all(ports)) == len(take_all(ports, OTHER)) == 10
    assert len(ports) == 20


def test_t14_a_port_that_is_given_back_can_be_had_again() -> None:
    ports, _ = make(2000, 2009)
    for taken in take_all(ports):
        give_back(ports, taken)
    assert len(ports) == 0
    assert len(take_all(ports)) == 10


def test_t14_a_port_is_given_back_once() -> None:
    ports, _ = make(2000, 2009)
    taken = ports.take(HOST)
    assert taken is not None
    give_back(ports, taken)
    with pytest.raises(KeyError):
        ports.release(taken.host, taken.port)
    with pytest.raises(KeyError):
        ports.release(OTHER, 2000)


# ports that others hold, and a system that has no more


def test_a_port_of_another_program_is_passed_over_and_tried_again_later() -> None:
    ports, system = make(2000, 2009)
    system.foreign = {(HOST, port) for port in range(2000, 2009)}
    taken = ports.take(HOST)
    assert taken is not None
    assert taken.port == 2009
    assert len(set(system.tried)) == len(system.tried)  # each once
    system.foreign.clear()
    assert len(take_all(ports)) == 9


def test_the_tries_of_one_call_are_bounded() -> None:
    ports, system = make(2000, 2999)
    system.foreign = {(HOST, port) for port in range(2000, 3000)}
    assert ports.take(HOST) is None
    assert ports.take_even(HOST) is None
    assert ports.take_pair(HOST, "a", 0.0) is None
    assert len(system.tried) == 3 * 16
    assert len(ports) == 0


def test_a_pair_of_which_one_port_is_anothers_is_not_kept_by_halves() -> None:
    ports, system = make(2000, 2003)
    system.foreign = {(HOST, 2001), (HOST, 2003)}
    assert ports.take_pair(HOST, "a", 0.0) is None
    assert not system.bound
    assert len(ports) == 0
    assert {taken.port for taken in take_all(ports)} == {2000, 2002}


@pytest.mark.parametrize("binds", [0, 1])
def test_what_the_system_refuses_comes_out_and_takes_nothing(binds: int) -> None:
    ports, system = make(2000, 2003)
    system.out_of_descriptors_after = binds
    with pytest.raises(OSError, match="Too many open files"):
        ports.take_pair(HOST, "a", 0.0)
    system.out_of_descriptors_after = 0
    with pytest.raises(OSError, match="Too many open files"):
        ports.take(HOST)
    assert not system.bound
    assert len(ports) == 0
    system.out_of_descriptors_after = None
    assert len(take_all(ports)) == 4


# even ports, pairs, reservations


def test_t11_an_even_port_without_the_r_bit_reserves_nothing() -> None:
    ports, system = make(2000, 2099)
    evens: set[int] = set()
    while (taken := ports.take_even(HOST)) is not None:
        evens.add(taken.port)
    assert evens == set(range(2000, 2100, 2))
    assert ports.reserved == 0
    assert {port for _, port in system.bound} == evens
    assert {taken.port for taken in take_all(ports)} == set(range(2001, 2100, 2))


def test_t11_ten_thousand_even_ports_taken_and_released_leave_every_port_free() -> None:
    ports, _ = make(2000, 2009)
    for _ in range(10_000):
        taken = ports.take_even(HOST)
        assert taken is not None
        give_back(ports, taken)
    assert len(take_all(ports)) == 10


def test_t11_a_pair_is_an_even_port_and_the_next_which_its_token_brings() -> None:
    ports, system = make(2000, 2099)
    pair = ports.take_pair(HOST, "a", 10.0)
    assert pair is not None
    taken, token = pair
    assert taken.port % 2 == 0
    assert len(token) == 8
    assert (HOST, taken.port + 1) in system.bound  # nobody else can bind it meanwhile
    second = ports.redeem(token, 39.9)
    assert second is not None
    assert second[:2] == (HOST, taken.port + 1)
    assert ports.timer_at() is None


def test_t11_a_token_works_once_and_no_other_works() -> None:
    ports, _ = make(2000, 2099)
    pair = ports.take_pair(HOST, "a", 10.0)
    assert pair is not None
    assert ports.redeem(bytes(8), 10.0) is None
    assert ports.redeem(pair[1][:7], 10.0) is None
    assert ports.redeem(pair[1], 10.0) is not None
    assert ports.redeem(pair[1], 10.0) is None


def test_t11_a_reserved_port_is_held_for_30_s_and_free_after() -> None:
    ports, system = make(2000, 2001)
    pair = ports.take_pair(HOST, "a", 10.0)
    assert pair is not None
    assert ports.timer_at() == 40.0
    ports.handle_timer(39.99)
    assert ports.take(HOST) is None
    ports.handle_timer(40.0)
    assert system.bound == {(HOST, 2000)}
    later = ports.take(HOST)
    assert later is not None
    assert later.port == 2001
    assert ports.redeem(pair[1], 40.0) is None


def test_t11_a_token_that_is_over_brings_nothing_even_before_the_timer_ran() -> None:
    ports, system = make(2000, 2001)
    pair = ports.take_pair(HOST, "a", 10.0)
    assert pair is not None
    assert ports.redeem(pair[1], 40.0) is None
    assert system.bound == {(HOST, 2000)}


def test_t11_a_reservation_outlives_the_allocation_that_made_it() -> None:
    ports, _ = make(2000, 2001)
    pair = ports.take_pair(HOST, "a", 10.0)
    assert pair is not None
    give_back(ports, pair[0])
    assert ports.redeem(pair[1], 20.0) is not None


def test_t11_a_port_is_a_pair_again_when_both_are_back() -> None:
    ports, _ = make(2000, 2001)
    for now in range(0, 1000, 40):
        pair = ports.take_pair(HOST, "a", float(now))
        assert pair is not None
        assert ports.take_pair(HOST, "a", float(now)) is None
        give_back(ports, pair[0])


def test_one_user_can_hold_so_many_reserved_ports_and_not_those_of_others() -> None:
    ports, _ = make(2000, 2999, reservations_per_owner=3)
    made = [ports.take_pair(HOST, "a", 0.0) for _ in range(5)]
    assert [pair is not None for pair in made] == [True, True, True, False, False]
    assert ports.take_pair(HOST, "b", 0.0) is not None
    assert made[0] is not None
    assert ports.redeem(made[0][1], 1.0) is not None
    assert ports.take_pair(HOST, "a", 1.0) is not None
    assert ports.take_pair(HOST, "a", 29.9) is None
    assert ports.take_pair(HOST, "a", 30.0) is not None  # two of the first are over


def test_reserved_ports_are_bounded_over_all_users() -> None:
    ports, _ = make(2000, 2999, reservations=4)
    made = [ports.take_pair(HOST, str(number), 0.0) for number in range(6)]
    assert [pair is not None for pair in made] == [True] * 4 + [False] * 2
    assert ports.take_even(HOST) is not None
    ports.handle_timer(30.0)
    assert vars(ports)["_held_by"] == {}  # users who hold nothing are forgotten


def test_close_ends_all_reservations_and_leaves_what_is_taken() -> None:
    ports, system = make(2000, 2099)
    pairs = [ports.take_pair(HOST, "a", 0.0) for _ in range(5)]
    ports.close()
    assert system.bound == {pair[0][:2] for pair in pairs if pair is not None}
    assert ports.timer_at() is None
    assert len(ports) == 5


@pytest.mark.parametrize(("low", "high"), [(2001, 2001), (2000, 2000), (2001, 2002)])
def test_a_range_without_a_pair_has_no_pair(low: int, high: int) -> None:
    ports, _ = make(low, high)
    assert ports.take_pair(HOST, "a", 0.0) is None
    assert len(take_all(ports)) == high - low + 1


def test_real_sockets_are_bound_and_a_port_in_use_is_passed_over() -> None:
    def bind(host: str, port: int) -> socket.socket | None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.bind((host, port))
        except OSError:
            sock.close()
            return None
        return sock

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign:
        foreign.bind(("127.0.0.1", 0))
        port = foreign.getsockname()[1]
        ports = RelayPorts(port, port, bind=bind)
        assert ports.take("127.0.0.1") is None
        taken = ports.take("127.0.0.2")
        assert taken is not None
        with socket.socket(fileno=taken.sock.detach()) as sock:
            assert sock.getsockname() == ("127.0.0.2", port)


# any order of calls


class AnyOrder(RuleBasedStateMachine):
    """Against a model that is sets of ports: nothing leaks, nothing is given out twice."""

    @initialize(low=st.integers(2000, 2003), count=st.integers(1, 12), seed=st.integers(0, 1 << 32))
    def start(self, low: int, count: int, seed: int) -> None:
        self.range = range(low, low + count)
        self.system = System()
        self.ports = RelayPorts(
            low,
            low + count - 1,
            bind=self.system.bind,
            random=Random(seed),
            reservations=4,
            reservations_per_owner=2,
        )
        self.taken: list[Taken] = []
        self.reserved: dict[bytes, tuple[str, int, str, float]] = {}
        self.now = 0.0

    hosts = st.sampled_from([HOST, OTHER])

    def free(self, host: str) -> set[int]:
        held = {port for at, port, *_ in self.taken if at == host}
        held |= {port for at, port, _, _ in self.reserved.values() if at == host}
        held |= {port for at, port in self.system.foreign if at == host}
        return set(self.range) - held

    @rule(host=hosts)
    def take(self, host: str) -> None:
        free = self.free(host)  # 12 ports at most: the 16 tries come to each
        taken = self.ports.take(host)
        assert (taken is not None) == bool(free)
        if taken is not None:
            assert taken.port in free
            self.taken.append(taken)

    @rule(host=hosts)
    def take_even(self, host: str) -> None:
        free = {port for port in self.free(host) if port % 2 == 0}
        taken = self.ports.take_even(host)
        assert (taken is not None) == bool(free)
        if taken is not None:
            assert taken.port in free
            self.taken.append(taken)

    @rule(host=hosts, owner=st.sampled_from("abc"))
    def take_pair(self, host: str, owner: str) -> None:
        self.expire()
        free = self.free(host)
        pairs = {port for port in free if port % 2 == 0 and port + 1 in free}
        held = sum(holder == owner for _, _, holder, _ in self.reserved.values())
        pair = self.ports.take_pair(host, owner, self.now)
        assert (pair is not None) == (bool(pairs) and held < 2 and len(self.reserved) < 4)
        if pair is not None:
            taken, token = pair
            assert taken.port in pairs
            assert token not in self.reserved
            self.taken.append(taken)
            self.reserved[token] = host, taken.port + 1, owner, self.now + 30.0

    @precondition(lambda self: self.reserved)
    @rule(data=st.data())
    def redeem(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.reserved)))
        self.expire()
        expected = self.reserved.pop(token, None)
        taken = self.ports.redeem(token, self.now)
        assert (taken is None) == (expected is None)
        if taken is not None and expected is not None:
            assert taken[:2] == expected[:2]
            self.taken.append(taken)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        taken = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        give_back(self.ports, taken)

    @rule(host=hosts, data=st.data())
    def another_program_takes_a_port(self, host: str, data: st.DataObject) -> None:
        free = self.free(host)
        if free:
            self.system.foreign.add((host, data.draw(st.sampled_from(sorted(free)))))

    @rule()
    def another_program_ends(self) -> None:
        self.system.foreign.clear()

    @rule(seconds=st.sampled_from([1.0, 15.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.ports.handle_timer(self.now)
        self.expire()

    def expire(self) -> None:
        self.reserved = {token: held for token, held in self.reserved.items() if held[3] > self.now}

    @invariant()
    def what_is_held_is_what_is_bound(self) -> None:
        held = {taken[:2] for taken in self.taken} | {held[:2] for held in self.reserved.values()}
        assert self.system.bound == held
        assert len(self.ports) == len(held)
        assert self.ports.reserved == len(self.reserved)
        assert self.ports.timer_at() == min((held[3] for held in self.reserved.values()), default=None)

    def teardown(self) -> None:
        for taken in self.taken:
            give_back(self.ports, taken)
        self.ports.close()
        self.system.foreign.clear()
        assert not self.system.bound
        for host in (HOST, OTHER):
            assert {taken.port for taken in take_all(self.ports, host)} == set(self.range)


TestAnyOrder = AnyOrder.TestCase
