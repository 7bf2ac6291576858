"""The tables of payload types and extension ids."""

from __future__ import annotations

from sfu.negotiation.numbers import Numbers
from sfu.negotiation.record import Binding


def table(**agreed: int) -> Numbers[int]:
    return Numbers({number: Binding(key, agreed=True) for key, number in agreed.items()}, range(1, 5))


def test_what_is_agreed_holds_for_life() -> None:
    numbers = table(a=1)
    numbers.see(1, "b")
    assert numbers.bindings() == {1: Binding("a", agreed=True)}
    assert not numbers.means(1, "b")
    assert numbers.means(1, "a")
    assert numbers.means(2, "b")


def test_what_was_only_seen_may_change() -> None:
    numbers = table()
    numbers.see(1, "a")
    numbers.see(1, "b")
    assert numbers.means(1, "c")
    assert numbers.choose("a", []) == 2
    assert numbers.choose("b", []) == 1


def test_a_key_keeps_its_number() -> None:
    numbers = table(a=3)
    assert numbers.choose("a", [1]) == 3


def test_a_wish_is_granted_if_the_number_is_free() -> None:
    numbers = table(a=3)
    assert numbers.choose("b", [3, 4]) == 4
    assert numbers.choose("c", [3, 4]) == 1


def test_a_number_that_the_client_uses_is_taken_last() -> None:
    numbers = table()
    numbers.see(1, "theirs")
    numbers.see(2, "theirs too")
    assert [numbers.choose(key, [1]) for key in "abcde"] == [3, 4, 1, 2, None]


def test_a_key_whose_number_was_taken_finds_another() -> None:
    numbers = table()
    numbers.see(1, "a")
    numbers.see(1, "b")
    numbers.see(2, "a")
    assert numbers.choose("a", []) == 2


def test_an_agreed_number_is_preferred_to_a_seen_one() -> None:
    numbers = table()
    numbers.see(1, "a")
    numbers.agree(2, "a")
    assert numbers.choose("a", []) == 2
    assert Numbers(numbers.bindings(), range(1, 5)).choose("a", []) == 2


def test_what_was_offered_in_vain_is_as_if_seen() -> None:
    numbers = table(a=1)
    assert numbers.choose("b", []) == 2
    assert numbers.agreed() == {1, 2}
    numbers.drop([2])
    assert numbers.agreed() == {1}
    assert numbers.means(2, "c")
    assert numbers.choose("b", []) == 2
