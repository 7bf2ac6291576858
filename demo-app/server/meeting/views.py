"""What members are told: the difference between two states of a room, as messages.

States may be far apart: a node that heard of a room late tells its members the same as one that saw each
step, but for what is over already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from meeting.messages import (
    Chat,
    ChatEntry,
    CloseCode,
    LobbyIs,
    Member,
    MemberGone,
    MemberIs,
    MuteAsked,
    RoomIs,
    RoomState,
    Waiting,
    Welcome,
)
from meeting.rooms import hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meeting.messages import GoneReason, Rules, ServerMessage
    from meeting.rooms import GoneBecause, Room

_CLOSES: Final[dict[GoneBecause, CloseCode]] = {
    "left": CloseCode.LEFT,
    "expired": CloseCode.EXPIRED,
    "removed": CloseCode.REMOVED,
    "denied": CloseCode.DENIED,
    "ended": CloseCode.ENDED,
}
_TOLD: Final[dict[GoneBecause, GoneReason]] = {"expired": "expired", "removed": "removed"}


class View:
    """A room as its members see it."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.hosts = hosts(room)
        self.state = RoomState(
            id=room.id,
            since=room.since,
            entry=room.entry,
            epoch=room.epoch,
            places=room.places,
            choose=room.choose,
        )
        self.members = {
            seat.id: Member(
                id=seat.id,
                name=seat.name,
                role="host" if seat.id in self.hosts else "guest",
                place=seat.place,
                away=seat.away_since is not None,
                hand=seat.hand,
                microphone=seat.microphone,
                camera=seat.camera,
                encrypted=seat.encrypted,
                session_id=seat.session_id,
                tracks=seat.tracks,
            )
            for seat in room.seats.values()
        }
        self.waiting = tuple(Waiting(id=waiter.id, name=waiter.name) for waiter in room.waiting.values())

    def welcome(self, member: str, token: str, rules: Rules) -> Welcome:
        """All that is true now, for a member who has come."""
        return Welcome(
            you=member,
            token=token,
            room=self.state,
            members=tuple(self.members.values()),
            waiting=self.waiting if member in self.hosts else (),
            chat=self.chat(self.members[member].place, after=0),
            rules=rules,
        )

    def closes(self, member: str) -> CloseCode:
        """Why somebody who had a seat or waited has neither any more."""
        for gone in reversed(self.room.gone):
            if gone.id == member:
                return _CLOSES[gone.because]
        if member in self.room.removed:
            return CloseCode.REMOVED
        return CloseCode.ENDED if self.room.ended else CloseCode.EXPIRED

    def chat(self, place: str, *, after: int) -> tuple[ChatEntry, ...]:
        """What can be read in a place of what was said after a line."""
        return tuple(entry for entry in self.room.chat if entry.seq > after and entry.place in (None, place))


class Change:
    """What has changed from one view of a room to a later one."""

    def __init__(self, before: View, after: View) -> None:
        self._before = before
        self._after = after
        self._to_all = list(self._common())

    def messages_to(self, member: str) -> Iterator[ServerMessage]:
        """What a member is told who had a seat before and has it after."""
        before, after = self._before, self._after
        yield from self._to_all
        if member in after.hosts and (before.waiting != after.waiting or member not in before.hosts):
            yield LobbyIs(waiting=after.waiting)
        place = after.members[member].place
        moved = before.members[member].place != place
        if entries := after.chat(place, after=0 if moved else before.room.chat_seq):
            yield Chat(entries=entries)
        asked, had = after.room.seats[member].mutes, before.room.seats[member].mutes
        for source, times in asked.items():
            if times > had.get(source, 0):
                yield MuteAsked(source=source)

    def role_changed(self, member: str) -> bool:
        """Whether a member is a host who was none, or the other way round, for longer than it acts as one."""
        before, after = self._before.room.seats[member], self._after.room.seats[member]
        return before.host != after.host

    def _common(self) -> Iterator[ServerMessage]:
        before, after = self._before, self._after
        reasons: dict[str, GoneReason] = {
            gone.id: _TOLD.get(gone.because, "left") for gone in after.room.gone
        }
        for member in before.members.keys() - after.members.keys():
            yield MemberGone(member=member, reason=reasons.get(member, "left"))
        for member, now in after.members.items():
            if before.members.get(member) != now:
                yield MemberIs(member=now)
        if before.state != after.state:
            yield RoomIs(room=after.state)
