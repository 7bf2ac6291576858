"""The state of a room: pure functions from a room, an event and the time to the next room.

A room is one frozen record, which is stored whole. Whatever happens in it is one of four events: somebody
arrives (`arrive`), a socket is lost (`lose`), a member asks for something (`ask`), time passes (`pass_time`).
Each returns the room that follows; what members are told is read off the difference (`meeting.views`).
Times are wall-clock seconds, as several nodes share the record.

    arrive --> waiting --admit--> seat <--> away --grace--> gone
          `------------------------^
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from meeting.limits import RoomLimits
from meeting.messages import (
    MAIN,
    Admit,
    Asked,
    ChatEntry,
    CloseCode,
    Deny,
    End,
    Entry,
    Hand,
    Leave,
    Media,
    Move,
    Mute,
    Place,
    Publish,
    Recall,
    RefusalCode,
    Remove,
    Rename,
    Say,
    SetEntry,
    SetRole,
    Source,
    Split,
    Track,
)

GoneBecause = Literal["left", "expired", "removed", "denied", "ended"]

_HOSTS_ALONE: Final = (SetEntry, Admit, Deny, Remove, Mute, SetRole, Split, Recall, End)


class Refusal(Exception):
    """A request of a member that is not carried out; the text is for the member."""

    def __init__(self, code: RefusalCode, text: str) -> None:
        super().__init__(text)
        self.code: RefusalCode = code
        self.text = text


class TurnedAway(Exception):
    """Somebody who does not come in, and the code that the socket is closed with."""

    def __init__(self, code: CloseCode) -> None:
        super().__init__(code.name)
        self.code = code


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)


class Connection(_Kept):
    """The socket that somebody has: which node holds it, and its number there."""

    node: str
    number: int


class Seat(_Kept):
    """A member's place in the room, kept for a while when the connection is lost.

    `host` was given by the host key or by a host. `sessions` are the member's own, newest last; what
    it publishes is in one of them. `mutes` counts how often hosts asked to switch each source off.
    """

    id: str
    name: str
    connection: Connection
    joined_at: float
    away_since: float | None = None
    host: bool = False
    place: str = MAIN
    hand: float | None = None
    microphone: bool = False
    camera: bool = False
    encrypted: bool = False
    sessions: tuple[str, ...] = ()
    session_id: str | None = None
    tracks: tuple[Track, ...] = ()
    mutes: dict[Source, int] = {}


class Waiter(_Kept):
    """Somebody in the lobby."""

    id: str
    name: str
    connection: Connection
    since: float


class Gone(_Kept):
    """Somebody who left of late; `seq` grows, so that those are told apart who were told of already."""

    seq: int
    id: str
    because: GoneBecause


class Room(_Kept):
    """All that is kept of a room.

    `made_at` is when the record began, `since` when the first of those who are there came. `seats` and
    `waiting` are in the order of coming. Tokens up to `tokens_from` admit nobody who has no seat.
    """

    id: str
    made_at: float
    since: float
    entry: Entry = "open"
    ended: bool = False
    epoch: int = 0
    places: tuple[Place, ...] = ()
    choose: bool = False
    seats: dict[str, Seat] = {}
    waiting: dict[str, Waiter] = {}
    chat: tuple[ChatEntry, ...] = ()
    chat_seq: int = 0
    gone: tuple[Gone, ...] = ()
    gone_seq: int = 0
    removed: tuple[str, ...] = ()
    tokens_from: float = 0.0


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token proves: that its holder was given this seat at this time, as a host or not."""

    room: str
    member: str
    host: bool
    issued_at: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody at the door. `new_id` is what the member is called if it has no seat yet; `keyed` is
    whether the room's key was right, `host_keyed` the same of the host key."""

    name: str
    connection: Connection
    new_id: str
    keyed: bool = False
    host_keyed: bool = False
    claim: Claim | None = None


KeptT = TypeVar("KeptT", bound=_Kept)


def _with(kept: KeptT, **update: Any) -> KeptT:
    return kept.model_copy(update=update)


def new_room(room: str, now: float) -> Room:
    """A room in which nobody was yet."""
    return Room(id=room, made_at=now, since=now)


def hosts(room: Room) -> frozenset[str]:
    """Who may do what hosts may: the hosts or, while there are none, who has had a seat for longest."""
    named = frozenset(seat.id for seat in room.seats.values() if seat.host)
    return named or frozenset(list(room.seats)[:1])


def sessions(room: Room) -> frozenset[str]:
    """The sessions of all members."""
    return frozenset(session for seat in room.seats.values() for session in seat.sessions)


def may_pull(room: Room, member: str, session: str) -> bool:
    """Whether a member may pull tracks of a session: it is of a member in the same place."""
    own = room.seats.get(member)
    return own is not None and any(
        session in seat.sessions and seat.place == own.place for seat in room.seats.values()
    )


# coming


def arrive(room: Room, arrival: Arrival, now: float, limits: RoomLimits) -> tuple[Room, str]:
    """Let somebody in, or into the lobby; the room and who it is. Raises TurnedAway."""
    claim = arrival.claim
    if claim is not None and claim.member in room.removed:
        raise TurnedAway(CloseCode.REMOVED)
    if claim is not None and claim.member in room.seats:
        return _resume(room, room.seats[claim.member], arrival), claim.member
    known = claim is not None and claim.issued_at > room.tokens_from
    if not (known or arrival.keyed):
        raise TurnedAway(CloseCode.WRONG_KEY)
    if room.ended and not arrival.host_keyed:
        raise TurnedAway(CloseCode.ENDED)
    member = claim.member if claim is not None and known else arrival.new_id
    # The record is younger than the token, so it was lost since: who was a host then is one again.
    host = arrival.host_keyed or (
        claim is not None and known and claim.host and claim.issued_at < room.made_at
    )
    if known or host or room.entry == "open":
        seat = Seat(id=member, name=arrival.name, connection=arrival.connection, joined_at=now, host=host)
        return _seated(room, seat, now, limits, TurnedAway(CloseCode.FULL)), member
    if room.entry == "locked":
        raise TurnedAway(CloseCode.LOCKED)
    if len(room.waiting) >= limits.waiting:
        raise TurnedAway(CloseCode.FULL)
    waiter = Waiter(id=member, name=arrival.name, connection=arrival.connection, since=now)
    return _with(room, waiting={**room.waiting, member: waiter}), member


def _resume(room: Room, seat: Seat, arrival: Arrival) -> Room:
    return _put(
        room,
        seat,
        connection=arrival.connection,
        name=arrival.name,
        host=seat.host or arrival.host_keyed,
        away_since=None,
    )


def _seated(room: Room, seat: Seat, now: float, limits: RoomLimits, full: Exception) -> Room:
    if len(room.seats) >= limits.members:
        raise full
    since = room.since if room.seats else now
    return _with(room, seats={**room.seats, seat.id: seat}, since=since, ended=False)


def _put(room: Room, seat: Seat, **update: Any) -> Room:
    return _with(room, seats={**room.seats, seat.id: _with(seat, **update)})


# going


def lose(room: Room, connection: Connection, now: float) -> Room:
    """A socket is lost: who has it is away from now on, or waits no longer."""
    for seat in room.seats.values():
        if seat.connection == connection and seat.away_since is None:
            return _put(room, seat, away_since=now)
    waiting = {key: waiter for key, waiter in room.waiting.items() if waiter.connection != connection}
    return room if len(waiting) == len(room.waiting) else _with(room, waiting=waiting)


def lose_nodes(room: Room, dead: Collection[str], now: float) -> Room:
    """Whole nodes are lost, and all their sockets with them."""
    held = [*room.seats.values(), *room.waiting.values()]
    for connection in [one.connection for one in held if one.connection.node in dead]:
        room = lose(room, connection, now)
    return room


def pass_time(room: Room, now: float, limits: RoomLimits) -> Room:
    """Give up seats whose members have been away for too long, and waiting that led to nothing."""
    for seat in list(room.seats.values()):
        if seat.away_since is not None and seat.away_since + limits.grace_s <= now:
            room = _go(room, seat.id, "expired", limits)
    for waiter in list(room.waiting.values()):
        if waiter.since + limits.lobby_wait_s <= now:
            room = _go(room, waiter.id, "expired", limits)
    return room


def due_at(room: Room, limits: RoomLimits) -> float | None:
    """When `pass_time` has work next, or None."""
    ends = [
        *(seat.away_since + limits.grace_s for seat in room.seats.values() if seat.away_since is not None),
        *(waiter.since + limits.lobby_wait_s for waiter in room.waiting.values()),
    ]
    return min(ends, default=None)


def _go(room: Room, member: str, because: GoneBecause, limits: RoomLimits) -> Room:
    """The room without somebody who had a seat or waited."""
    had_seat = member in room.seats
    seats = {key: seat for key, seat in room.seats.items() if key != member}
    gone = Gone(seq=room.gone_seq + 1, id=member, because=because)
    room = _with(
        room,
        seats=seats,
        waiting={key: waiter for key, waiter in room.waiting.items() if key != member},
        gone=(*room.gone, gone)[-limits.remembered_gone :],
        gone_seq=gone.seq,
        epoch=room.epoch + had_seat,
    )
    if had_seat and not seats:  # whoever comes next comes to another meeting
        room = _with(room, chat=(), places=(), choose=False)
    return room


# asking


def ask(room: Room, member: str, message: Asked, now: float, limits: RoomLimits) -> Room:
    """Do what a member asks for. Raises Refusal."""
    seat = room.seats.get(member)
    if seat is None:
        raise Refusal("notAllowed", "You have no seat in this room.")
    if isinstance(message, _HOSTS_ALONE) and member not in hosts(room):
        raise Refusal("notAllowed", "Only hosts can do this.")
    return _ANSWERS[type(message)](room, seat, message, now, limits)


def own_session(room: Room, member: str, session: str, limits: RoomLimits) -> Room:
    """A session was made for a member; of several the newest few remain. Raises Refusal."""
    seat = room.seats.get(member)
    if seat is None:
        raise Refusal("notAllowed", "You have no seat in this room.")
    kept = (*seat.sessions, session)[-limits.sessions_per_member :]
    if seat.session_id in kept:
        return _put(room, seat, sessions=kept)
    return _put(room, seat, sessions=kept, session_id=None, tracks=())


def _other(room: Room, member: str) -> Seat:
    seat = room.seats.get(member)
    if seat is None:
        raise Refusal("notFound", "This member is gone.")
    return seat


def _leave(room: Room, seat: Seat, _message: Leave, _now: float, limits: RoomLimits) -> Room:
    return _go(room, seat.id, "left", limits)


def _rename(room: Room, seat: Seat, message: Rename, _now: float, _limits: RoomLimits) -> Room:
    return _put(room, seat, name=message.name)


def _publish(room: Room, seat: Seat, message: Publish, _now: float, _limits: RoomLimits) -> Room:
    if message.session_id is not None and message.session_id not in seat.sessions:
        raise Refusal("notFound", "This session is not one of yours.")
    names = [track.name for track in message.tracks]
    if len(set(names)) < len(names) or (message.session_id is None and names):
        raise Refusal("invalid", "Each track has a name of its own and lies in a session.")
    return _put(room, seat, session_id=message.session_id, tracks=message.tracks)


def _media(room: Room, seat: Seat, message: Media, _now: float, _limits: RoomLimits) -> Room:
    return _put(room, seat, microphone=message.microphone, camera=message.camera, encrypted=message.encrypted)


def _hand(room: Room, seat: Seat, message: Hand, now: float, _limits: RoomLimits) -> Room:
    if message.member is not None and message.member != seat.id:
        if message.raised or seat.id not in hosts(room):
            raise Refusal("notAllowed", "Only hosts lower another's hand, and nobody raises it.")
        seat = _other(room, message.member)
    raised_at = (now if seat.hand is None else seat.hand) if message.raised else None
    return _put(room, seat, hand=raised_at)


def _say(room: Room, seat: Seat, message: Say, now: float, limits: RoomLimits) -> Room:
    everywhere = message.scope == "everyone"
    if everywhere and seat.id not in hosts(room):
        raise Refusal("notAllowed", "Only hosts write to all breakout rooms.")
    entry = ChatEntry(
        seq=room.chat_seq + 1,
        at=now,
        sender=seat.id,
        name=seat.name,
        text=message.text,
        place=None if everywhere else seat.place,
    )
    return _with(room, chat=(*room.chat, entry)[-limits.chat :], chat_seq=entry.seq)


def _set_entry(room: Room, _seat: Seat, message: SetEntry, _now: float, _limits: RoomLimits) -> Room:
    return _with(room, entry=message.entry)


def _admit(room: Room, _seat: Seat, message: Admit, now: float, limits: RoomLimits) -> Room:
    if message.member is not None and message.member not in room.waiting:
        raise Refusal("notFound", "This person waits no longer.")
    for waiter in [*room.waiting.values()] if message.member is None else [room.waiting[message.member]]:
        seat = Seat(id=waiter.id, name=waiter.name, connection=waiter.connection, joined_at=now)
        room = _seated(room, seat, now, limits, Refusal("full", "The room is full."))
        room = _with(room, waiting={key: one for key, one in room.waiting.items() if key != waiter.id})
    return room


def _deny(room: Room, _seat: Seat, message: Deny, _now: float, limits: RoomLimits) -> Room:
    if message.member not in room.waiting:
        raise Refusal("notFound", "This person waits no longer.")
    return _go(room, message.member, "denied", limits)


def _remove(room: Room, seat: Seat, message: Remove, now: float, limits: RoomLimits) -> Room:
    other = _other(room, message.member)
    if other.id == seat.id:
        raise Refusal("invalid", "Leave instead.")
    room = _go(room, other.id, "removed", limits)
    entry = "lobby" if room.entry == "open" else room.entry
    if len(room.removed) < limits.remembered_removed:
        return _with(room, removed=(*room.removed, other.id), entry=entry)
    # Too many to name: nobody without a seat comes in by a token of before.
    return _with(room, removed=(), tokens_from=now, entry=entry)


def _mute(room: Room, seat: Seat, message: Mute, _now: float, _limits: RoomLimits) -> Room:
    meant = [_other(room, message.member)] if message.member is not None else list(room.seats.values())
    for one in meant:
        if message.member is not None or one.id != seat.id:
            times = one.mutes.get(message.source, 0) + 1
            room = _put(room, one, mutes={**one.mutes, message.source: times})
    return room


def _set_role(room: Room, _seat: Seat, message: SetRole, _now: float, _limits: RoomLimits) -> Room:
    return _put(room, _other(room, message.member), host=message.role == "host")


def _split(room: Room, _seat: Seat, message: Split, _now: float, _limits: RoomLimits) -> Room:
    if any(index >= len(message.names) for index in message.assigned.values()):
        raise Refusal("invalid", "There are fewer breakout rooms than that.")
    places = tuple(Place(id=str(number), name=name) for number, name in enumerate(message.names, 1))
    seats = {
        key: _with(seat, place=places[message.assigned[key]].id if key in message.assigned else MAIN)
        for key, seat in room.seats.items()
    }
    return _with(room, places=places, choose=message.choose, seats=seats)


def _move(room: Room, seat: Seat, message: Move, _now: float, _limits: RoomLimits) -> Room:
    is_host = seat.id in hosts(room)
    own = message.member is None or message.member == seat.id
    if not (is_host or (own and (room.choose or message.place == MAIN))):
        raise Refusal("notAllowed", "Only hosts can do this.")
    if message.place != MAIN and message.place not in [place.id for place in room.places]:
        raise Refusal("notFound", "There is no such breakout room.")
    return _put(room, seat if own else _other(room, message.member or ""), place=message.place)


def _recall(room: Room, _seat: Seat, _message: Recall, _now: float, _limits: RoomLimits) -> Room:
    seats = {key: _with(seat, place=MAIN) for key, seat in room.seats.items()}
    return _with(room, places=(), choose=False, seats=seats)


def _end(room: Room, _seat: Seat, _message: End, now: float, limits: RoomLimits) -> Room:
    for member in [*room.seats, *room.waiting]:
        room = _go(room, member, "ended", limits)
    return _with(room, ended=True, tokens_from=now)


_ANSWERS: Final[Mapping[type[Any], Callable[[Room, Seat, Any, float, RoomLimits], Room]]] = {
    Leave: _leave,
    Rename: _rename,
    Publish: _publish,
    Media: _media,
    Hand: _hand,
    Say: _say,
    SetEntry: _set_entry,
    Admit: _admit,
    Deny: _deny,
    Remove: _remove,
    Mute: _mute,
    SetRole: _set_role,
    Split: _split,
    Move: _move,
    Recall: _recall,
    End: _end,
}
