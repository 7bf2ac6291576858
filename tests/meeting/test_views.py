"""What members are told of what has changed, and what they are not told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meeting.limits import RoomLimits
from meeting.messages import (
    Admit,
    Chat,
    CloseCode,
    Deny,
    End,
    Hand,
    Leave,
    LobbyIs,
    MemberGone,
    MemberIs,
    Mute,
    MuteAsked,
    Remove,
    RoomIs,
    Rules,
    Say,
    SetEntry,
    SetRole,
    Split,
)
from meeting.rooms import Arrival, Connection, Room, arrive, ask, lose, new_room, pass_time
from meeting.views import Change, View

if TYPE_CHECKING:
    from meeting.messages import ServerMessage
    from meeting.rooms import Asked

LIMITS = RoomLimits(grace_s=30, remembered_gone=2)
RULES = Rules(level_every_s=0.5, ping_every_s=10, messages_per_second=20)
A, B, C, D = (f"{number:016x}" for number in range(1, 5))
NUMBERS = {A: 1, B: 2, C: 3, D: 4}


def come(room: Room, *members: str, host: bool = False) -> Room:
    for member in members:
        arrival = Arrival(
            name=f"Member {member[-1]}",
            connection=Connection(node="n1", number=NUMBERS[member]),
            new_id=member,
            keyed=True,
            host_keyed=host,
        )
        room, _ = arrive(room, arrival, 1.0, LIMITS)
    return room


def asked(room: Room, *requests: tuple[str, Asked]) -> Room:
    for member, message in requests:
        room = ask(room, member, message, 2.0, LIMITS)
    return room


def room_of(*members: str) -> Room:
    """A room whose first member is a host by key."""
    return come(come(new_room("abcdefghijklmnop", 1.0), members[0], host=True), *members[1:])


def told(before: Room, after: Room, member: str) -> list[ServerMessage]:
    return list(Change(View(before), View(after)).messages_to(member))


def test_who_comes_is_told_to_those_who_are_there() -> None:
    before = room_of(A)
    (message,) = told(before, come(before, B), A)
    assert isinstance(message, MemberIs)
    assert (message.member.id, message.member.role) == (B, "guest")


def test_only_what_has_changed_is_told() -> None:
    before = room_of(A, B, C)
    (message,) = told(before, asked(before, (B, Hand(raised=True))), C)
    assert isinstance(message, MemberIs)
    assert (message.member.id, message.member.hand) == (B, 2.0)
    assert told(before, before, C) == []


def test_many_changes_are_told_once() -> None:
    before = room_of(A, B)
    after = asked(before, *[(B, Hand(raised=raised)) for raised in (True, False, True)])
    assert len(told(before, after, A)) == 1


@pytest.mark.parametrize(
    ("request_of", "reason"), [((B, Leave()), "left"), ((A, Remove(member=B)), "removed")]
)
def test_who_is_gone_is_told_with_the_reason(request_of: tuple[str, Asked], reason: str) -> None:
    before = room_of(A, B, C)
    messages = told(before, asked(before, request_of), C)
    gone = [message for message in messages if isinstance(message, MemberGone)]
    assert [(one.member, one.reason) for one in gone] == [(B, reason)]
    assert any(isinstance(message, RoomIs) and message.room.epoch == 1 for message in messages)


def test_who_was_not_back_in_time_has_expired() -> None:
    before = room_of(A, B)
    away = lose(before, Connection(node="n1", number=2), 5.0)
    (message,) = told(before, away, A)
    assert isinstance(message, MemberIs)
    assert message.member.away
    gone = told(away, pass_time(away, 35.0, LIMITS), A)[0]
    assert isinstance(gone, MemberGone)
    assert gone.reason == "expired"


def test_the_next_host_is_told_to_all_and_sees_the_lobby() -> None:
    before = come(asked(room_of(A, B, C), (A, SetEntry(entry="lobby"))), D)
    after = asked(before, (A, Leave()))
    roles = {m.member.id: m.member.role for m in told(before, after, C) if isinstance(m, MemberIs)}
    assert roles == {B: "host"}
    assert not any(isinstance(message, LobbyIs) for message in told(before, after, C))
    (lobby,) = [message for message in told(before, after, B) if isinstance(message, LobbyIs)]
    assert [waiter.id for waiter in lobby.waiting] == [D]


def test_only_hosts_hear_of_the_lobby() -> None:
    before = asked(room_of(A, B), (A, SetEntry(entry="lobby")))
    after = come(before, C)
    assert [type(message) for message in told(before, after, A)] == [LobbyIs]
    assert told(before, after, B) == []
    assert View(after).welcome(B, "t", RULES).waiting == ()
    assert [waiter.id for waiter in View(after).welcome(A, "t", RULES).waiting] == [C]


def test_chat_of_a_breakout_room_is_read_there_alone() -> None:
    before = asked(room_of(A, B, C), (A, Split(names=("Blue",), assigned={B: 0})))
    after = asked(before, (B, Say(text="in blue")), (A, Say(text="to all", scope="everyone")))
    texts = {
        member: [
            entry.text
            for message in told(before, after, member)
            if isinstance(message, Chat)
            for entry in message.entries
        ]
        for member in (A, B, C)
    }
    assert texts == {A: ["to all"], B: ["in blue", "to all"], C: ["to all"]}
    assert [entry.text for entry in View(after).welcome(C, "t", RULES).chat] == ["to all"]


def test_who_moves_reads_what_was_said_there_before() -> None:
    said = asked(
        room_of(A, B, C),
        (A, Split(names=("Blue",), assigned={B: 0})),
        (A, Say(text="in main")),
        (B, Say(text="in blue")),
    )
    after = asked(said, (A, Split(names=("Blue",), assigned={B: 0, C: 0})))
    (chat,) = [message for message in told(said, after, C) if isinstance(message, Chat)]
    assert [entry.text for entry in chat.entries] == ["in blue"]


def test_only_who_is_meant_is_asked_to_mute() -> None:
    before = room_of(A, B, C)
    after = asked(before, (A, Mute(source="microphone", member=B)))
    assert told(before, after, B) == [MuteAsked(source="microphone")]
    assert told(before, after, C) == []
    again = asked(after, (A, Mute(source="microphone", member=B)))
    assert told(after, again, B) == [MuteAsked(source="microphone")]


def test_a_role_that_was_given_is_told_apart_from_acting_as_host() -> None:
    before = room_of(A, B)
    assert not Change(View(before), View(asked(before, (B, Hand(raised=True))))).role_changed(B)
    assert Change(View(before), View(asked(before, (A, SetRole(member=B, role="host"))))).role_changed(B)
    assert not Change(View(before), View(asked(before, (A, Leave())))).role_changed(B)


def test_each_end_of_a_seat_has_its_code() -> None:
    room = come(asked(room_of(A, B, C), (A, SetEntry(entry="lobby"))), D)
    codes = {
        CloseCode.LEFT: (B, asked(room, (B, Leave()))),
        CloseCode.REMOVED: (B, asked(room, (A, Remove(member=B)))),
        CloseCode.DENIED: (D, asked(room, (A, Deny(member=D)))),
        CloseCode.ENDED: (D, asked(room, (A, End()))),
        CloseCode.EXPIRED: (D, pass_time(room, 2000.0, LIMITS)),
    }
    for code, (member, after) in codes.items():
        assert View(after).closes(member) == code


def test_an_end_is_known_also_when_its_reason_is_forgotten() -> None:
    room = room_of(A, B, C, D)
    removed = asked(room, (A, Remove(member=B)), (C, Leave()), (D, Leave()))
    assert View(removed).closes(B) == CloseCode.REMOVED
    assert View(asked(room, (A, End()))).closes(A) == CloseCode.ENDED


def test_a_welcome_has_everybody_and_what_is_true_now() -> None:
    room = asked(room_of(A, B), (A, Say(text="hello")), (A, SetEntry(entry="lobby")))
    welcome = View(asked(come(room, C), (A, Admit()))).welcome(C, "t0ken", RULES)
    assert [member.id for member in welcome.members] == [A, B, C]
    assert (welcome.you, welcome.token, welcome.room.entry) == (C, "t0ken", "lobby")
    assert [entry.text for entry in welcome.chat] == ["hello"]
