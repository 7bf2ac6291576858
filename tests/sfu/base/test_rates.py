"""Rates by key."""

from __future__ import annotations

from sfu.base.rates import Rates

CAPACITY = 100_000


def test_api_1_13_fifty_calls_pass_and_the_next_does_not() -> None:
    rate = Rates(50, 50, capacity=CAPACITY)
    assert all(rate.allow("a", 10.0) for _ in range(50))
    assert not rate.allow("a", 10.0)


def test_calls_come_back_with_time_and_never_more_than_the_rate() -> None:
    rate = Rates(50, 50, capacity=CAPACITY)
    for _ in range(50):
        rate.allow("a", 0.0)
    assert rate.allow("a", 0.02)
    assert not rate.allow("a", 0.02)
    assert sum(rate.allow("a", 3600.0) for _ in range(100)) == 50


def test_a_refused_call_costs_nothing() -> None:
    rate = Rates(1, 1, capacity=CAPACITY)
    assert rate.allow("a", 0.0)
    assert not any(rate.allow("a", 0.5) for _ in range(100))
    assert rate.allow("a", 1.0)


def test_one_session_does_not_use_up_another_ones_calls() -> None:
    rate = Rates(1, 1, capacity=CAPACITY)
    assert rate.allow("a", 0.0)
    assert rate.allow("b", 0.0)


def test_the_table_forgets_who_called_longest_ago() -> None:
    rate = Rates(1, 1, capacity=2)
    rate.allow("a", 0.0)
    rate.allow("b", 0.0)
    rate.allow("a", 0.1)
    rate.allow("c", 0.1)
    assert len(rate) == 2
    assert rate.allow("b", 0.1)  # forgotten, so as new
    assert not rate.allow("c", 0.1)


def test_sessions_that_call_no_more_leave_nothing_behind() -> None:
    rate = Rates(50, 50, capacity=CAPACITY)
    for number in range(1000):
        rate.allow(f"session {number}", number * 0.01)
    assert len(rate) <= 101
    rate.allow("last", 3600.0)
    assert len(rate) == 1


def test_a_burst_passes_then_the_rate() -> None:
    rates = Rates(1.0, 3.0, capacity=CAPACITY)
    assert [rates.allow("a", 10.0) for _ in range(4)] == [True, True, True, False]
    assert rates.allow("b", 10.0)
    assert [rates.allow("a", 11.0) for _ in range(2)] == [True, False]
    assert [rates.allow("a", 100.0) for _ in range(4)] == [True, True, True, False]


def test_the_table_is_bounded_and_forgets_who_came_longest_ago() -> None:
    rates = Rates(0.0, 1.0, capacity=2)
    for key in ("a", "b", "a", "c"):
        rates.allow(key, 1.0)
    assert rates.allow("b", 1.0)  # forgotten
    assert not rates.allow("c", 1.0)
