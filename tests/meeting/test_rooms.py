"""A room's state: who comes in, who goes, and what each may do."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from meeting.limits import RoomLimits
from meeting.messages import (
    Admit,
    CloseCode,
    Deny,
    End,
    Hand,
    Leave,
    Media,
    Move,
    Mute,
    Publish,
    Recall,
    Remove,
    Rename,
    Say,
    SetEntry,
    SetRole,
    Split,
    Track,
)
from meeting.rooms import (
    Arrival,
    Asked,
    Claim,
    Connection,
    Refusal,
    Room,
    TurnedAway,
    arrive,
    ask,
    due_at,
    hosts,
    lose,
    lose_nodes,
    may_pull,
    new_room,
    own_session,
    pass_time,
    sessions,
)

ROOM = "abcdefghijklmnop"
LIMITS = RoomLimits(members=4, waiting=2, lobby_wait_s=60, grace_s=30, chat=3, remembered_removed=2)


def identity(number: int) -> str:
    return f"{number:016x}"


A, B, C, D, E = (identity(number) for number in range(1, 6))


def at_door(number: int, *, node: str = "n1", **fields: object) -> Arrival:
    known: dict[str, object] = {"keyed": True, **fields}
    return Arrival(
        name=f"Member {number}",
        connection=Connection(node=node, number=number),
        new_id=identity(number),
        **known,  # type: ignore[arg-type]
    )


def claim_of(member: str, issued_at: float = 1.0, *, host: bool = False) -> Claim:
    return Claim(ROOM, member, host, issued_at)


class Held:
    """A room and the functions on it, at a time that only goes on when it is told to."""

    def __init__(self, limits: RoomLimits = LIMITS) -> None:
        self.limits = limits
        self.now = 1.0
        self.room = new_room(ROOM, self.now)

    def come(self, arrival: Arrival) -> str:
        self.room, member = arrive(self.room, arrival, self.now, self.limits)
        return member

    def ask(self, member: str, message: Asked) -> None:
        self.room = ask(self.room, member, message, self.now, self.limits)

    def pass_to(self, now: float) -> None:
        self.now = now
        self.room = pass_time(self.room, now, self.limits)


def held(*members: int, limits: RoomLimits = LIMITS) -> Held:
    """A room with these members, the first a host by key."""
    it = Held(limits)
    for index, number in enumerate(members):
        it.come(at_door(number, host_keyed=index == 0))
    return it


# coming in


def test_who_has_the_key_gets_a_seat() -> None:
    it = Held()
    assert it.come(at_door(1)) == A
    assert list(it.room.seats) == [A]


def test_who_has_no_key_does_not_come_in() -> None:
    it = Held()
    with pytest.raises(TurnedAway) as turned:
        it.come(at_door(1, keyed=False))
    assert turned.value.code == CloseCode.WRONG_KEY


def test_a_full_room_takes_nobody_not_even_hosts() -> None:
    it = held(1, 2, 3, 4)
    with pytest.raises(TurnedAway) as turned:
        it.come(at_door(5, host_keyed=True))
    assert turned.value.code == CloseCode.FULL


def test_a_locked_room_lets_hosts_and_those_with_a_token_in() -> None:
    it = held(1)
    it.ask(A, SetEntry(entry="locked"))
    with pytest.raises(TurnedAway) as turned:
        it.come(at_door(2))
    assert turned.value.code == CloseCode.LOCKED
    it.come(at_door(2, host_keyed=True))
    it.come(at_door(9, claim=claim_of(C), keyed=False))
    assert list(it.room.seats) == [A, B, C]


def test_newcomers_wait_in_the_lobby_until_a_host_lets_them_in() -> None:
    it = held(1)
    it.ask(A, SetEntry(entry="lobby"))
    it.come(at_door(2))
    it.come(at_door(3))
    assert list(it.room.waiting) == [B, C]
    it.ask(A, Admit(member=C))
    assert (list(it.room.seats), list(it.room.waiting)) == ([A, C], [B])
    it.ask(A, Admit())
    assert (list(it.room.seats), list(it.room.waiting)) == ([A, C, B], [])


def test_who_waits_may_do_nothing() -> None:
    it = held(1)
    it.ask(A, SetEntry(entry="lobby"))
    it.come(at_door(2))
    with pytest.raises(Refusal):
        it.ask(B, Say(text="let me in"))


def test_who_is_denied_waits_no_longer_and_may_ask_again() -> None:
    it = held(1)
    it.ask(A, SetEntry(entry="lobby"))
    it.come(at_door(2))
    it.ask(A, Deny(member=B))
    assert not it.room.waiting
    assert it.room.gone[-1].because == "denied"
    assert it.come(at_door(3)) == C


def test_a_lobby_is_full_at_its_bound_and_empties_with_time() -> None:
    it = held(1)
    it.ask(A, SetEntry(entry="lobby"))
    it.come(at_door(2))
    it.come(at_door(3))
    with pytest.raises(TurnedAway) as turned:
        it.come(at_door(4))
    assert turned.value.code == CloseCode.FULL
    assert due_at(it.room, it.limits) == 61.0
    it.pass_to(61.0)
    assert not it.room.waiting


def test_no_more_are_admitted_than_there_are_seats() -> None:
    it = held(1, 2, 3, 4)
    it.ask(A, SetEntry(entry="lobby"))
    it.come(at_door(5))
    with pytest.raises(Refusal) as refusal:
        it.ask(A, Admit(member=E))
    assert refusal.value.code == "full"
    assert E in it.room.waiting


# seats


def test_a_seat_outlives_its_connection_for_a_while() -> None:
    it = held(1, 2)
    it.room = lose(it.room, Connection(node="n1", number=2), it.now)
    assert it.room.seats[B].away_since == 1.0
    assert due_at(it.room, it.limits) == 31.0
    it.pass_to(30.9)
    assert B in it.room.seats
    it.pass_to(31.0)
    assert B not in it.room.seats
    assert it.room.gone[-1].because == "expired"


def test_a_seat_is_had_again_by_its_token_with_all_that_belongs_to_it() -> None:
    it = held(1, 2)
    it.ask(B, Hand(raised=True))
    it.room = own_session(it.room, B, "s1", it.limits)
    it.room = lose(it.room, Connection(node="n1", number=2), it.now)
    it.ask(A, SetEntry(entry="locked"))
    assert it.come(at_door(7, claim=claim_of(B), keyed=False)) == B
    seat = it.room.seats[B]
    assert (seat.hand, seat.sessions, seat.away_since, seat.connection.number) == (1.0, ("s1",), None, 7)
    assert list(it.room.seats) == [A, B]  # and as long a member as before


def test_a_socket_that_was_replaced_takes_no_seat_with_it() -> None:
    it = held(1)
    it.come(at_door(7, claim=claim_of(A)))
    it.room = lose(it.room, Connection(node="n1", number=1), it.now)
    assert it.room.seats[A].away_since is None


def test_a_lost_node_makes_its_members_away_and_no_others() -> None:
    it = held(1)
    it.come(at_door(2, node="n2"))
    it.room = lose_nodes(it.room, {"n2", "n3"}, it.now)
    assert [seat.away_since for seat in it.room.seats.values()] == [None, 1.0]


def test_a_token_whose_seat_is_gone_brings_the_same_member_back() -> None:
    it = held(1, 2)
    it.ask(B, Leave())
    it.ask(A, SetEntry(entry="lobby"))
    assert it.come(at_door(9, claim=claim_of(B), keyed=False)) == B


def test_a_host_by_token_is_one_again_only_where_the_room_was_forgotten() -> None:
    forgotten = Held()
    forgotten.now = 50.0
    forgotten.room = new_room(ROOM, 50.0)
    forgotten.come(at_door(9, claim=claim_of(A, 49.0, host=True), keyed=False))
    assert forgotten.room.seats[A].host
    known = held(1, 2)
    known.ask(B, Leave())
    known.come(at_door(9, claim=claim_of(B, 1.0, host=True)))
    assert not known.room.seats[B].host


def test_a_removed_member_does_not_come_back_by_its_token() -> None:
    it = held(1, 2)
    it.ask(A, Remove(member=B))
    with pytest.raises(TurnedAway) as turned:
        it.come(at_door(9, claim=claim_of(B)))
    assert turned.value.code == CloseCode.REMOVED


def test_after_a_removal_the_link_leads_into_the_lobby() -> None:
    it = held(1, 2)
    it.ask(A, Remove(member=B))
    it.come(at_door(3))
    assert (list(it.room.seats), list(it.room.waiting)) == ([A], [C])


def test_a_removal_opens_no_locked_room() -> None:
    it = held(1, 2)
    it.ask(A, SetEntry(entry="locked"))
    it.ask(A, Remove(member=B))
    assert it.room.entry == "locked"


def test_of_many_removed_none_comes_back() -> None:
    it = held(1)
    for number in range(2, 6):
        it.now += 1
        it.ask(A, SetEntry(entry="open"))
        it.come(at_door(number))
        it.ask(A, Remove(member=identity(number)))
    for number in range(2, 6):
        with pytest.raises(TurnedAway):
            it.come(at_door(9, claim=claim_of(identity(number), float(number)), keyed=False))
        # With the link it is one like any other, and waits.
        try:
            came = it.come(at_door(9, claim=claim_of(identity(number), float(number))))
        except TurnedAway:
            continue
        assert came in it.room.waiting
        it.ask(A, Deny(member=came))


# hosts


def test_who_is_there_longest_acts_as_host_while_there_is_none() -> None:
    it = Held()
    it.come(at_door(1))
    it.come(at_door(2))
    assert hosts(it.room) == {A}
    it.ask(A, Leave())
    assert hosts(it.room) == {B}
    it.come(at_door(3, host_keyed=True))
    assert hosts(it.room) == {C}
    it.ask(C, Leave())
    assert hosts(it.room) == {B}


def test_hosts_make_hosts() -> None:
    it = held(1, 2)
    it.ask(A, SetRole(member=B, role="host"))
    assert hosts(it.room) == {A, B}
    it.ask(B, SetRole(member=A, role="guest"))
    assert hosts(it.room) == {B}


@pytest.mark.parametrize(
    "message",
    [
        SetEntry(entry="locked"),
        Admit(),
        Deny(member=C),
        Remove(member=A),
        Mute(source="camera"),
        SetRole(member=B, role="host"),
        Split(names=("One",)),
        Recall(),
        End(),
        Say(text="hear, hear", scope="everyone"),
        Hand(raised=False, member=A),
        Move(place="main", member=A),
        Move(place="1"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_guests_may_not(message: Asked) -> None:
    it = held(1, 2)
    before = it.room
    with pytest.raises(Refusal) as refusal:
        it.ask(B, message)
    assert refusal.value.code == "notAllowed"
    assert it.room == before


@pytest.mark.parametrize(
    "message",
    [
        Remove(member=E),
        Mute(source="camera", member=E),
        SetRole(member=E, role="host"),
        Admit(member=E),
        Deny(member=E),
        Move(place="main", member=E),
        Hand(raised=False, member=E),
        Move(place="1"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_is_not_there_is_not_found(message: Asked) -> None:
    it = held(1)
    with pytest.raises(Refusal) as refusal:
        it.ask(A, message)
    assert refusal.value.code == "notFound"


def test_nobody_raises_anothers_hand_and_hosts_lower_it() -> None:
    it = held(1, 2)
    with pytest.raises(Refusal):
        it.ask(A, Hand(raised=True, member=B))
    it.ask(B, Hand(raised=True))
    it.now = 5.0
    it.ask(B, Hand(raised=True))
    assert it.room.seats[B].hand == 1.0  # its turn is as before
    it.ask(A, Hand(raised=False, member=B))
    assert it.room.seats[B].hand is None


def test_mute_all_asks_all_but_the_one_who_says_so() -> None:
    it = held(1, 2, 3)
    it.ask(A, Mute(source="microphone"))
    it.ask(A, Mute(source="microphone", member=B))
    assert [dict(seat.mutes) for seat in it.room.seats.values()] == [
        {},
        {"microphone": 2},
        {"microphone": 1},
    ]


def test_the_end_is_for_all_and_only_a_host_key_opens_again() -> None:
    it = held(1, 2)
    it.ask(A, SetEntry(entry="lobby"))
    it.come(at_door(3))
    it.now = 9.0
    it.ask(A, End())
    assert (it.room.seats, it.room.waiting) == ({}, {})
    for arrival in (at_door(4), at_door(4, claim=claim_of(B))):
        with pytest.raises(TurnedAway) as turned:
            it.come(arrival)
        assert turned.value.code == CloseCode.ENDED
    it.come(at_door(5, host_keyed=True))
    it.come(at_door(4))
    assert (list(it.room.seats), list(it.room.waiting)) == ([E], [D])


# chat


def test_late_joiners_find_the_last_lines() -> None:
    it = held(1)
    for number in range(5):
        it.ask(A, Say(text=f"line {number}"))
    assert [(entry.seq, entry.text) for entry in it.room.chat] == [
        (3, "line 2"),
        (4, "line 3"),
        (5, "line 4"),
    ]


def test_the_next_meeting_in_a_room_does_not_read_the_last_ones_chat() -> None:
    it = held(1)
    it.ask(A, Say(text="between us"))
    it.ask(A, Leave())
    it.now = 100.0
    it.come(at_door(2))
    assert it.room.chat == ()
    assert it.room.since == 100.0


# sessions and tracks


def test_a_member_publishes_in_its_own_session_alone() -> None:
    it = held(1, 2)
    it.room = own_session(it.room, A, "s-of-a", it.limits)
    with pytest.raises(Refusal) as refusal:
        it.ask(B, Publish(session_id="s-of-a", tracks=(Track(name="cam", source="camera"),)))
    assert refusal.value.code == "notFound"
    it.ask(A, Publish(session_id="s-of-a", tracks=(Track(name="cam", source="camera"),)))
    assert it.room.seats[A].tracks[0].name == "cam"


@pytest.mark.parametrize("session", ["s1", None])
def test_tracks_have_names_of_their_own_and_a_session(session: str | None) -> None:
    it = held(1)
    it.room = own_session(it.room, A, "s1", it.limits)
    twice = (Track(name="cam", source="camera"), Track(name="cam", source="screen"))
    with pytest.raises(Refusal) as refusal:
        it.ask(A, Publish(session_id=session, tracks=twice if session else twice[:1]))
    assert refusal.value.code == "invalid"


def test_only_so_many_sessions_are_a_members_own() -> None:
    it = held(1)
    for number in range(3):
        it.room = own_session(it.room, A, f"s{number}", it.limits)
        if number == 0:
            it.ask(A, Publish(session_id="s0"))
    assert sessions(it.room) == {"s1", "s2"}
    assert it.room.seats[A].session_id is None  # what it published went with the session


def test_with_the_seat_the_sessions_go() -> None:
    it = held(1, 2)
    it.room = own_session(it.room, B, "s1", it.limits)
    it.ask(A, Remove(member=B))
    assert sessions(it.room) == frozenset()
    with pytest.raises(Refusal):
        own_session(it.room, B, "s2", it.limits)


def test_tracks_are_pulled_from_members_in_the_same_place() -> None:
    it = held(1, 2, 3)
    for member, session in ((A, "sa"), (B, "sb"), (C, "sc")):
        it.room = own_session(it.room, member, session, it.limits)
    assert may_pull(it.room, A, "sb")
    it.ask(A, Split(names=("Blue", "Green"), assigned={A: 0, B: 0, C: 1}))
    assert may_pull(it.room, A, "sb")
    assert not may_pull(it.room, A, "sc")
    assert not may_pull(it.room, D, "sa")
    it.ask(A, Recall())
    assert may_pull(it.room, A, "sc")


# breakout rooms


def test_a_split_sends_each_where_it_is_assigned_and_the_others_to_main() -> None:
    it = held(1, 2, 3)
    it.ask(A, Split(names=("Blue", "Green"), assigned={B: 1, E: 0}))
    assert [place.id for place in it.room.places] == ["1", "2"]
    assert [seat.place for seat in it.room.seats.values()] == ["main", "2", "main"]
    with pytest.raises(Refusal):
        it.ask(A, Split(names=("Blue",), assigned={B: 1}))


def test_guests_go_back_to_main_by_themselves_and_elsewhere_if_they_may() -> None:
    it = held(1, 2)
    it.ask(A, Split(names=("Blue",), assigned={B: 0}))
    it.ask(B, Move(place="main"))
    with pytest.raises(Refusal):
        it.ask(B, Move(place="1"))
    it.ask(A, Split(names=("Blue",), choose=True))
    it.ask(B, Move(place="1"))
    assert it.room.seats[B].place == "1"


def test_hosts_move_others_and_call_all_back() -> None:
    it = held(1, 2)
    it.ask(A, Split(names=("Blue",)))
    it.ask(A, Move(place="1", member=B))
    assert it.room.seats[B].place == "1"
    it.ask(A, Recall())
    assert (it.room.places, it.room.seats[B].place) == ((), "main")


def test_chat_is_read_where_it_was_written_and_a_hosts_word_everywhere() -> None:
    it = held(1, 2)
    it.ask(A, Split(names=("Blue",), assigned={B: 0}))
    it.ask(B, Say(text="in blue"))
    it.ask(A, Say(text="to all", scope="everyone"))
    assert [entry.place for entry in it.room.chat] == ["1", None]


# keys


def test_the_epoch_grows_with_each_that_is_gone_and_with_nobody_who_comes() -> None:
    it = held(1, 2, 3)
    assert it.room.epoch == 0
    it.ask(B, Leave())
    it.ask(A, Remove(member=C))
    assert it.room.epoch == 2


# what is kept


def test_a_room_is_the_same_after_it_was_stored() -> None:
    it = held(1, 2)
    it.room = own_session(it.room, A, "s1", it.limits)
    it.ask(A, Publish(session_id="s1", tracks=(Track(name="cam", source="camera", simulcast=True),)))
    it.ask(A, Say(text="a\nb <i>"))
    it.ask(A, Mute(source="microphone"))
    it.ask(A, Split(names=("Blue",), assigned={B: 0}))
    assert Room.model_validate_json(it.room.model_dump_json()) == it.room


MEMBERS = st.sampled_from([identity(number) for number in range(1, 9)])
PLACES = st.sampled_from(["main", "1", "2"])
REQUESTS: st.SearchStrategy[Asked] = st.one_of(
    st.builds(Leave),
    st.builds(Rename, name=st.just("New")),
    st.sampled_from([None, "s1", "s2", "s3"]).map(lambda session: Publish(session_id=session)),
    st.builds(Media, microphone=st.booleans(), camera=st.booleans()),
    st.builds(Hand, raised=st.booleans(), member=st.none() | MEMBERS),
    st.builds(Say, text=st.just("hello"), scope=st.sampled_from(["place", "everyone"])),
    st.builds(SetEntry, entry=st.sampled_from(["open", "lobby", "locked"])),
    st.builds(Admit, member=st.none() | MEMBERS),
    st.builds(Deny, member=MEMBERS),
    st.builds(Remove, member=MEMBERS),
    st.builds(Mute, source=st.just("microphone"), member=st.none() | MEMBERS),
    st.builds(SetRole, member=MEMBERS, role=st.sampled_from(["host", "guest"])),
    st.builds(
        Split,
        names=st.sampled_from([("Blue",), ("Blue", "Green")]),
        assigned=st.dictionaries(MEMBERS, st.integers(0, 1), max_size=3),
        choose=st.booleans(),
    ),
    st.builds(Move, place=PLACES, member=st.none() | MEMBERS),
    st.builds(Recall),
    st.builds(End),
)


class RoomMachine(RuleBasedStateMachine):
    """Anybody does anything at any time; what must hold of a room holds."""

    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.it = Held(RoomLimits(members=5, waiting=3, lobby_wait_s=20, grace_s=10, chat=4))
        self.numbers = itertools.count(1)
        self.removed: set[str] = set()
        self.connections: dict[Connection, str] = {}

    def _come(self, arrival: Arrival) -> str | None:
        try:
            member = self.it.come(arrival)
        except TurnedAway:
            return None
        self.connections[arrival.connection] = member
        return member

    @rule(target=tokens, keyed=st.booleans(), host=st.booleans())
    def come(self, keyed: bool, host: bool) -> Any:
        no_token = cast("Any", multiple())
        number = next(self.numbers)
        before = self.it.room
        member = self._come(at_door(number, keyed=keyed, host_keyed=host and keyed))
        if member is None:
            assert self.it.room == before
            return no_token
        assert keyed
        return Claim(ROOM, member, host, self.it.now) if member in self.it.room.seats else no_token

    @rule(claim=tokens, keyed=st.booleans())
    def come_back(self, claim: Claim, keyed: bool) -> None:
        member = self._come(at_door(next(self.numbers), claim=claim, keyed=keyed))
        assert member is None or claim.member not in self.removed or member in self.it.room.waiting

    @rule(member=MEMBERS, request=REQUESTS)
    def ask(self, member: str, request: Asked) -> None:
        before = self.it.room
        try:
            self.it.ask(member, request)
        except Refusal:
            assert self.it.room == before
            return
        assert member in before.seats  # nobody else is heard
        if isinstance(request, Remove):
            self.removed.add(request.member)

    @rule(member=MEMBERS, session=st.sampled_from(["s1", "s2", "s3"]))
    def make_session(self, member: str, session: str) -> None:
        if session in sessions(self.it.room):
            return  # ids are given once
        try:
            self.it.room = own_session(self.it.room, member, session, self.it.limits)
        except Refusal:
            assert member not in self.it.room.seats

    @rule(index=st.integers(0, 20))
    def lose(self, index: int) -> None:
        if self.connections:
            connection = list(self.connections)[index % len(self.connections)]
            self.it.room = lose(self.it.room, connection, self.it.now)

    @rule(by=st.sampled_from([0.5, 5.0, 10.0, 30.0]))
    def pass_time(self, by: float) -> None:
        self.it.pass_to(self.it.now + by)
        due = due_at(self.it.room, self.it.limits)
        assert due is None or due > self.it.now

    @invariant()
    def a_member_has_one_seat_and_a_socket_one_member(self) -> None:
        room = self.it.room
        assert not room.seats.keys() & room.waiting.keys()
        assert all(key == seat.id for key, seat in room.seats.items())
        present = [seat.connection for seat in room.seats.values() if seat.away_since is None]
        present += [waiter.connection for waiter in room.waiting.values()]
        assert len(set(present)) == len(present)

    @invariant()
    def who_is_in_a_room_has_a_host_and_hosts_have_seats(self) -> None:
        assert hosts(self.it.room) <= self.it.room.seats.keys()
        assert bool(hosts(self.it.room)) == bool(self.it.room.seats)

    @invariant()
    def who_was_removed_has_nothing(self) -> None:
        room = self.it.room
        assert not self.removed & room.seats.keys()
        for member in self.removed:
            assert not any(may_pull(room, member, session) for session in sessions(room))

    @invariant()
    def everything_is_bounded(self) -> None:
        room, limits = self.it.room, self.it.limits
        assert len(room.seats) <= limits.members
        assert len(room.waiting) <= limits.waiting
        assert len(room.chat) <= limits.chat
        assert len(room.gone) <= limits.remembered_gone
        assert len(room.removed) <= limits.remembered_removed
        assert all(len(seat.sessions) <= limits.sessions_per_member for seat in room.seats.values())

    @invariant()
    def what_is_published_is_ones_own_and_everybody_is_somewhere(self) -> None:
        room = self.it.room
        places = {"main", *(place.id for place in room.places)}
        owned = [session for seat in room.seats.values() for session in seat.sessions]
        assert len(set(owned)) == len(owned)
        for seat in room.seats.values():
            assert seat.place in places
            assert seat.session_id is None or seat.session_id in seat.sessions

    @invariant()
    def nobody_is_in_a_room_that_has_ended(self) -> None:
        assert not (self.it.room.ended and self.it.room.seats)

    @invariant()
    def it_can_be_stored(self) -> None:
        assert Room.model_validate_json(self.it.room.model_dump_json()) == self.it.room


RoomMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestRoom = RoomMachine.TestCase
