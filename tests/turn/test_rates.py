"""Buckets against their definition, the fixed table, and counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from turn.rates import FULL, Rate, RateTable, Tally

SECRET = bytes(range(16))


def test_a_full_bucket_gives_its_burst_and_no_more() -> None:
    rate = Rate(10, 50)
    state: float | None = FULL
    for _ in range(50):
        assert state is not None
        state = rate.take(state, 5.0)
    assert state is not None
    assert rate.take(state, 5.0) is None


def test_a_bucket_fills_by_its_rate_and_never_over_its_burst() -> None:
    rate = Rate(10, 50)
    empty = rate.take(FULL, 0.0, 50)
    assert empty is not None
    assert rate.take(empty, 0.09) is None
    assert rate.take(empty, 0.1) is not None
    assert rate.take(empty, 1.0, 11) is None
    assert rate.take(empty, 1.0, 10) is not None
    assert rate.take(empty, 1e6, 51) is None
    assert rate.take(empty, 1e6, 50) is not None


@given(
    st.sampled_from([(20.0, 20), (10.0, 50), (10 / 60, 10), (0.1, 1), (3.0, 7)]),
    st.floats(0, 1e7),
    st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0, 9.0]), st.integers(1, 12)), max_size=60),
)
def test_a_bucket_gives_what_a_counter_of_tokens_gives(
    kind: tuple[float, int], start: float, wants: list[tuple[float, int]]
) -> None:
    per_s, burst = kind
    rate = Rate(per_s, burst)
    state, tokens, now = FULL, float(burst), start
    for wait, count in wants:
        tokens = min(burst, tokens + wait * per_s)
        now += wait
        after = rate.take(state, now, count)
        if abs(tokens - count) > 1e-3:  # at the edge itself either may round
            assert (after is not None) == (tokens >= count)
        if after is not None:
            state = after
            tokens -= count


def test_every_key_has_a_rate_of_its_own_and_the_table_does_not_grow() -> None:
    table = RateTable(Rate(1, 3), 1 << 16, SECRET)
    keys = [number.to_bytes(4, "big") for number in range(100)]
    assert all(table.allow(key, 0.0) for key in keys for _ in range(3))
    assert not any(table.allow(key, 0.0) for key in keys)
    assert all(table.allow(key, 1.0) for key in keys)
    assert len(table) == 1 << 16


def test_a_flood_of_keys_takes_no_memory_and_is_held_to_the_rate_of_all_slots() -> None:
    table = RateTable(Rate(20, 20), 256, SECRET)
    allowed = sum(table.allow(number.to_bytes(4, "big"), 0.0) for number in range(20_000))
    assert allowed == 256 * 20
    assert len(table) == 256


def test_a_refusal_costs_nothing() -> None:
    table = RateTable(Rate(1, 1), 256, SECRET)
    assert table.allow(b"a", 0.0)
    assert not any(table.allow(b"a", 0.5) for _ in range(1000))
    assert table.allow(b"a", 1.0)


def test_which_keys_share_a_slot_is_the_secrets_choice() -> None:
    def shares_with_a(secret: bytes) -> set[int]:
        shared: set[int] = set()
        for number in range(2000):
            table = RateTable(Rate(1, 1), 256, secret)
            table.allow(b"a", 0.0)
            if not table.allow(number.to_bytes(4, "big"), 0.0):
                shared.add(number)
        return shared

    one, other = shares_with_a(SECRET), shares_with_a(bytes(16))
    assert one
    assert other
    assert not one & other


class AnyOrder(RuleBasedStateMachine):
    """A tally against a list of what was added."""

    def __init__(self) -> None:
        super().__init__()
        self.tally = Tally(3)
        self.added: list[str] = []

    @rule(key=st.sampled_from("abcd"))
    def add_where_there_is_room(self, key: str) -> None:
        assert self.tally.has_room(key) == (self.added.count(key) < 3)
        if self.tally.has_room(key):
            self.tally.add(key)
            self.added.append(key)

    @precondition(lambda self: self.added)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        self.tally.remove(self.added.pop(data.draw(st.integers(0, len(self.added) - 1))))

    @rule(key=st.sampled_from("xyz"))
    def remove_what_was_never_added(self, key: str) -> None:
        with pytest.raises(KeyError):
            self.tally.remove(key)

    @invariant()
    def counts_are_of_what_is_there(self) -> None:
        assert all(self.tally[key] == self.added.count(key) for key in "abcd")
        assert len(self.tally) == len(set(self.added))


TestAnyOrder = AnyOrder.TestCase
