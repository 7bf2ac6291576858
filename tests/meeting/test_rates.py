"""Rates by key, and what counts as one address."""

from __future__ import annotations

import pytest

from meeting.rates import Rates, address_key


def test_a_burst_passes_then_the_rate() -> None:
    rates = Rates(1.0, 3.0)
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


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1:2:3:4", "2001:db8::"),
        ("2001:db8::9", "2001:db8::"),
        (None, "none"),
        ("/run/socket", "none"),
    ],
)
def test_one_customer_is_one_address(host: str | None, key: str) -> None:
    assert address_key(host) == key
