from hypothesis import given
from hypothesis import strategies as st

from sfu.base.timers import Timers

A, B = "a", "b"


def test_the_earliest_moment_of_all_is_next() -> None:
    timers = Timers[str]()
    timers.set(A, 3.0)
    timers.set(B, 2.0)
    assert timers.next_at() == 2.0


def test_a_key_is_due_once_per_moment() -> None:
    timers = Timers[str]()
    timers.set(A, 1.0)
    assert timers.take_due(1.0) == [A]
    assert timers.take_due(2.0) == []
    assert timers.next_at() is None


def test_a_moved_moment_replaces_the_one_before() -> None:
    timers = Timers[str]()
    timers.set(A, 1.0)
    timers.set(A, 5.0)
    assert timers.take_due(4.0) == []
    assert timers.take_due(5.0) == [A]


def test_a_session_that_is_gone_is_never_due() -> None:
    timers = Timers[str]()
    timers.set(A, 1.0)
    timers.set(A, None)
    assert timers.next_at() is None
    assert timers.take_due(9.0) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.floats(0, 100)), max_size=300))
def test_any_moves_leave_each_key_due_at_its_last_moment(moves: list[tuple[int, float | None]]) -> None:
    timers = Timers[str]()
    last: dict[str, float | None] = {}
    for number, at in moves:
        timers.set(str(number), at)
        last[str(number)] = at
    wanted = {key: at for key, at in last.items() if at is not None}
    assert timers.next_at() == min(wanted.values(), default=None)
    assert sorted(timers.take_due(50.0)) == sorted(key for key, at in wanted.items() if at <= 50.0)


def test_a_key_that_moves_for_ever_does_not_grow_the_heap() -> None:
    timers = Timers[str]()
    for moment in range(10_000):
        timers.set(A, 10_000.0 - moment)
    assert timers.held() < 100
