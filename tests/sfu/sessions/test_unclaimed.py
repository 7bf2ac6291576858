from sfu.base.ids import SessionId
from sfu.net.address import Address, Path, make_path
from sfu.sessions.unclaimed import DATAGRAMS, GONE_S, PATHS, UnclaimedSessions
from sfu.transport.ice import Check

A, B = SessionId("a" * 32), SessionId("b" * 32)


def path(port: int) -> Path:
    return make_path(Address("192.0.2.1", port), "192.0.2.9")


def check(session: SessionId) -> Check:
    return Check(
        session=session,
        generation=0,
        remote_ufrag="them",
        transaction_id=b"t" * 12,
        priority=1,
        use_candidate=False,
        nomination=None,
        error=None,
    )


def test_a_path_belongs_to_the_session_that_last_passed_a_check_on_it() -> None:
    sessions = UnclaimedSessions(limit=10)
    first, second = sessions.add(A, 0.0), sessions.add(B, 0.0)
    sessions.checked(first, path(1), check(A))
    sessions.checked(second, path(1), check(B))
    assert sessions.on_path(path(1)) is second
    sessions.remove(A)
    assert sessions.on_path(path(1)) is second


def test_past_the_limit_the_oldest_session_goes_with_its_paths() -> None:
    sessions = UnclaimedSessions(limit=2)
    for number in range(5):
        session = SessionId(f"{number:032x}")
        sessions.checked(sessions.add(session, 0.0), path(number + 1), check(session))
    assert len(sessions) == 2
    assert sessions.on_path(path(1)) is None
    assert sessions.on_path(path(5)) is not None


def test_paths_and_datagrams_of_one_session_are_bounded() -> None:
    sessions = UnclaimedSessions(limit=2)
    unclaimed = sessions.add(A, 0.0)
    for number in range(100):
        sessions.checked(unclaimed, path(number + 1), check(A))
        unclaimed.keep_datagram(path(number + 1), b"hello")
    assert len(unclaimed.checks) == PATHS
    assert len(unclaimed.datagrams) == DATAGRAMS
    assert sessions.on_path(path(1)) is None
    assert sessions.on_path(path(100)) is unclaimed


def test_the_first_dtls_datagram_is_the_clients_hello() -> None:
    unclaimed = UnclaimedSessions(limit=1).add(A, 0.0)
    assert not unclaimed.hello.is_set()
    unclaimed.keep_datagram(path(1), b"hello")
    assert unclaimed.hello.is_set()
    assert unclaimed.datagrams == [(path(1), b"hello")]


def test_nothing_is_left_of_a_session_that_was_removed() -> None:
    sessions = UnclaimedSessions(limit=2)
    sessions.checked(sessions.add(A, 0.0), path(1), check(A))
    assert sessions.remove(A) is not None
    assert sessions.remove(A) is None
    assert len(sessions) == 0
    assert sessions.on_path(path(1)) is None


def test_a_session_that_is_claimed_has_its_paths_to_itself() -> None:
    sessions = UnclaimedSessions(limit=2)
    sessions.checked(sessions.add(A, 0.0), path(1), check(A))
    sessions.leave(path(1))
    assert sessions.on_path(path(1)) is None
    sessions.leave(path(1))


def test_sessions_that_are_gone_are_remembered_for_a_while_and_in_bounds() -> None:
    sessions = UnclaimedSessions(limit=2)
    sessions.note_gone(A, 0.0)
    assert sessions.is_gone(A, GONE_S - 1)
    assert not sessions.is_gone(A, GONE_S)
    for number in range(5):
        sessions.note_gone(SessionId(f"{number:032x}"), 0.0)
    assert [sessions.is_gone(SessionId(f"{number:032x}"), 1.0) for number in range(5)] == [False] * 3 + [
        True
    ] * 2
    assert not sessions.is_gone(B, 0.0)
