"""The rooms in which this node's members are: changes the stored room, and tells members of changes.

A room is one document that all nodes share. Whatever happens is a pure function of `meeting.rooms`, put over
the version that it was derived from and derived anew if another node was faster. What members are told is
read off the difference between the version told before and the one that is true now, so each node tells its
own members the same whoever made the change. Levels and reactions are notes: passed on, and kept nowhere.

A node keeps a room open while a seat of it, also one that is away, was had by a socket of this node: it is
the one that ends it. For the seats of a node that is gone any other node does: each keeps a document alive
that says that it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from prometheus_client import Counter, Gauge
from pydantic import ValidationError

from meeting.messages import (
    Asked,
    CloseCode,
    Emoji,
    InLobby,
    Reaction,
    SeatToken,
    Speakers,
    write,
)
from meeting.rooms import (
    Arrival,
    Claim,
    Connection,
    Room,
    TurnedAway,
    arrive,
    ask,
    due_at,
    lose,
    lose_nodes,
    new_room,
    own_session,
    pass_time,
    sessions,
)
from meeting.speakers import Speakers as Voices
from meeting.views import Change, View
from sfu.base.documents import DocumentsAway
from sfu.base.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Generator

    from meeting.invites import Invites
    from meeting.limits import RoomLimits
    from meeting.messages import Join, Rules, ServerMessage, Speaker
    from sfu.base.documents import Document, Documents, DocumentWatch

T = TypeVar("T")

_TRIES: Final = 20  # chosen: so many nodes may be faster before a change is given up
_TICK_S: Final = 0.5  # chosen: how late time may be noticed
_SPEAKERS_S: Final = 0.25  # chosen: the loudest are told at most so often
_NODE_LIFE_S: Final = 20.0  # chosen: a node that is silent for so long is gone
_NODE_TOLD_S: Final = 5.0

log = get_logger("meeting")

_members = Gauge("orchard_meeting_sockets", "Room sockets that have joined on this node")
_open = Gauge("orchard_meeting_rooms", "Rooms that this node keeps open")
_changes = Counter("orchard_meeting_changes_total", "Changes of rooms that were stored")
_conflicts = Counter("orchard_meeting_conflicts_total", "Changes derived anew as another one was faster")


class Guest(Protocol):
    """The socket of somebody in a room."""

    def tell(self, text: str) -> None:
        """Send a message, in its turn."""
        ...

    def end(self, code: CloseCode) -> None:
        """Close it, behind what was told. Safe to call twice."""
        ...


class Media(Protocol):
    """What becomes of the sessions of members; carried out later, without a wait."""

    def close(self, sessions: Collection[str]) -> None:
        """End sessions that belong to nobody any more."""
        ...

    def part(self, room: str, members: Collection[str]) -> None:
        """Members were parted from others: end what they pull across places, if their pages do not."""
        ...


class Away(Exception):
    """The store of rooms can't be used now."""


class _Open:
    """A room that is open here."""

    def __init__(self, room: str, voices: Voices) -> None:
        self.id = room
        self.version = 0
        self.view: View | None = None
        self.guests: dict[int, tuple[str, Guest]] = {}  # by the connection's number: member and socket
        self.arriving: set[int] = set()  # those whose coming is not stored yet
        self.seated: set[int] = set()  # those that were welcomed
        self.users = 0  # who needs it open beside the guests
        self.voices = voices
        self.spoken: dict[str, tuple[Speaker, ...]] = {}
        self.spoken_at = 0.0
        self.stored_at = 0.0
        self.watch: DocumentWatch | None = None


class Hall:
    """All rooms, as this node sees them. `start` it, then `stop`."""

    def __init__(
        self,
        documents: Documents,
        invites: Invites,
        limits: RoomLimits,
        rules: Rules,
        *,
        speakers: int,
        media: Media,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._documents = documents
        self._invites = invites
        self._limits = limits
        self._rules = rules
        self._speakers = speakers
        self._media = media
        self._clock = wall_clock
        self._node = secrets.token_hex(8)
        self._numbers = 0
        self._rooms: dict[str, _Open] = {}
        self._ticking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to notice the time."""
        await self._say_alive()
        self._ticking = asyncio.create_task(self._tick(), name="meeting hall")

    async def stop(self) -> None:
        """Forget everything; sockets are closed by who serves them."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        for opened in list(self._rooms.values()):
            self._shut(opened)

    # for the sockets

    async def enter(self, join: Join, guest: Guest) -> Connection:
        """Let somebody in, or into the lobby; what they are told goes to `guest`. Raises TurnedAway, Away."""
        now = self._clock()
        self._numbers += 1
        connection = Connection(node=self._node, number=self._numbers)
        claim = self._invites.claim(join.token, now)
        arrival = Arrival(
            name=join.name,
            connection=connection,
            new_id=secrets.token_hex(8),
            keyed=self._invites.opens(join.room, join.key),
            host_keyed=self._invites.makes_host(join.room, join.host_key),
            claim=claim if claim is not None and claim.room == join.room else None,
        )
        if not arrival.keyed and arrival.claim is None:
            raise TurnedAway(CloseCode.WRONG_KEY)  # before a record is made for it
        number = connection.number
        member = ""

        def come(room: Room) -> Room:
            nonlocal member
            after, member = arrive(room, arrival, now, self._limits)
            # Known before the change is shown, so that it is told like any other.
            opened.guests[number] = (member, guest)
            opened.arriving.add(number)
            return after

        with self._using(join.room) as opened:
            try:
                await self._change(opened, come)
            except BaseException:
                opened.guests.pop(number, None)
                raise
            finally:
                opened.arriving.discard(number)
            if opened.view is not None and member in opened.view.room.waiting:
                guest.tell(write(InLobby(you=member)))
            _members.inc()
        return connection

    async def leave(self, room: str, connection: Connection) -> None:
        """A socket is gone. Raises Away, and the seat is then found to be away later."""
        opened = self._rooms.get(room)
        if opened is None:
            return
        if opened.guests.pop(connection.number, None) is not None:
            _members.dec()
        opened.seated.discard(connection.number)
        await self._change(opened, lambda now: lose(now, connection, self._clock()))

    async def ask(self, room: str, connection: Connection, message: Asked) -> None:
        """Do what a member asks for. Raises Refusal, Away."""
        opened = self._rooms[room]
        member, _ = opened.guests[connection.number]
        await self._change(opened, lambda now: ask(now, member, message, self._clock(), self._limits))

    async def react(self, room: str, connection: Connection, emoji: Emoji) -> None:
        """Show a reaction to the place. Raises Away."""
        await self._note(room, {"by": self._seat(room, connection), "emoji": emoji})

    async def level(self, room: str, connection: Connection, level: int) -> None:
        """How loud a member is. Raises Away."""
        await self._note(room, {"by": self._seat(room, connection), "level": level})

    def _seat(self, room: str, connection: Connection) -> str | None:
        """The member of a connection, if it has a seat."""
        opened = self._rooms.get(room)
        if opened is None or connection.number not in opened.seated:
            return None
        return opened.guests[connection.number][0]

    # for the proxy

    async def room(self, room: str) -> Room | None:
        """A room as it stands; None where nobody was yet, or too long ago. Raises Away."""
        opened = self._rooms.get(room)
        if opened is not None and opened.view is not None:
            return opened.view.room
        document = await self._store(self._documents.get(_name(room)))
        return None if document is None else Room.model_validate_json(document.value)

    async def own(self, room: str, member: str, session: str) -> None:
        """A session was made for a member. Raises Refusal if it has no seat any more, Away."""
        with self._using(room) as opened:
            await self._change(opened, lambda now: own_session(now, member, session, self._limits))

    # changes

    @contextlib.contextmanager
    def _using(self, room: str) -> Generator[_Open]:
        """The room, open at least as long."""
        opened = self._rooms.get(room)
        if opened is None:
            opened = self._rooms[room] = _Open(room, Voices(self._speakers))
            opened.watch = self._documents.watch(
                _name(room),
                lambda document: self._heard_of(opened, document),
                lambda note: self._noted(opened, note),
            )
            _open.set(len(self._rooms))
        opened.users += 1
        try:
            yield opened
        finally:
            opened.users -= 1
            self._shut_if_idle(opened)

    async def _change(self, opened: _Open, change: Callable[[Room], Room], *, touch: bool = False) -> None:
        """Store what `change` makes of the room, and tell. Raises what that raises, and Away."""
        for attempt in range(_TRIES):
            if opened.view is None or attempt:
                document = await self._store(self._documents.get(_name(opened.id)))
                if document is not None:
                    self._heard_of(opened, document)
                elif opened.version:  # its life is over, or the store has lost it
                    opened.view, opened.version = None, 0
            view, version = opened.view, opened.version
            before = new_room(opened.id, self._clock()) if view is None else view.room
            after = change(before)
            if after is before and not touch:
                return
            value = after.model_dump_json().encode()
            stored = self._documents.put(_name(opened.id), value, over=version, life_s=self._limits.life_s)
            if await self._store(stored):
                _changes.inc()
                opened.stored_at = self._clock()
                self._show(opened, after, version + 1)
                if ended := sessions(before) - sessions(after):
                    self._media.close(ended)
                if parted := _parted(before, after):
                    self._media.part(opened.id, parted)
                self._shut_if_idle(opened)
                return
            _conflicts.inc()
        raise Away("the room changes too fast")

    async def _store(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except DocumentsAway as error:
            log.warning("meeting.store_away", reason=str(error))
            raise Away(str(error)) from error

    def _heard_of(self, opened: _Open, document: Document) -> None:
        if document.version <= opened.version:
            return
        try:
            room = Room.model_validate_json(document.value)
        except ValidationError:
            log.error("meeting.room_unreadable", version=document.version)
            return
        self._show(opened, room, document.version)

    # telling

    def _show(self, opened: _Open, room: Room, version: int) -> None:
        if version <= opened.version:
            return  # another way brought it here first
        before, after = opened.view, View(room)
        opened.view, opened.version = after, version
        change = None if before is None else Change(before, after)
        texts: dict[int, str] = {}  # most messages go to many

        def text_of(message: ServerMessage) -> str:
            if id(message) not in texts:
                texts[id(message)] = write(message)
                kept.append(message)
            return texts[id(message)]

        kept: list[ServerMessage] = []  # an id is a message's own while it lives
        for number, (member, guest) in list(opened.guests.items()):
            seat = room.seats.get(member) or room.waiting.get(member)
            own = seat is not None and seat.connection == Connection(node=self._node, number=number)
            if number in opened.arriving and not own:
                continue
            if not own:
                opened.seated.discard(number)
                guest.end(after.closes(member) if seat is None else CloseCode.REPLACED)
            elif member not in room.seats:
                continue
            elif number not in opened.seated:
                opened.seated.add(number)
                guest.tell(write(after.welcome(member, self._token(room, member), self._rules)))
            elif change is not None:
                for message in change.messages_to(member):
                    guest.tell(text_of(message))
                if change.role_changed(member):
                    guest.tell(write(SeatToken(token=self._token(room, member))))

    def _token(self, room: Room, member: str) -> str:
        return self._invites.token(
            Claim(room=room.id, member=member, host=room.seats[member].host, issued_at=self._clock())
        )

    # what passes by

    async def _note(self, room: str, note: dict[str, Any]) -> None:
        if note["by"] is not None:
            await self._store(self._documents.note(_name(room), json.dumps(note).encode()))

    def _noted(self, opened: _Open, text: bytes) -> None:
        note: dict[str, Any] = json.loads(text)
        view, member = opened.view, note["by"]
        if view is None or member not in view.members:
            return
        if "level" in note:
            opened.voices.report(member, note["level"], self._clock())
            self._tell_speakers(opened)
            return
        place = view.members[member].place
        told = write(Reaction(member=member, emoji=note["emoji"]))
        for number in opened.seated:
            other, guest = opened.guests[number]
            if other in view.members and view.members[other].place == place:
                guest.tell(told)

    def _tell_speakers(self, opened: _Open) -> None:
        """Tell each place its loudest where these are others than before, or in another order."""
        now, view = self._clock(), opened.view
        if view is None or now < opened.spoken_at + _SPEAKERS_S:
            return
        places = {member.id: member.place for member in view.members.values() if not member.away}
        loudest = opened.voices.loudest(places, now)
        changed = {
            place: loudest.get(place, ())
            for place in {*loudest, *opened.spoken}
            if _who(loudest.get(place, ())) != _who(opened.spoken.get(place, ()))
        }
        if not changed:
            return
        opened.spoken, opened.spoken_at = loudest, now
        texts = {place: write(Speakers(loudest=speakers)) for place, speakers in changed.items()}
        for number in opened.seated:
            member, guest = opened.guests[number]
            place = places.get(member)
            if place in texts:
                guest.tell(texts[place])

    # time

    async def _tick(self) -> None:
        told_at = self._clock()
        while True:
            await asyncio.sleep(_TICK_S)
            now = self._clock()
            if now >= told_at + _NODE_TOLD_S:
                told_at = now
                with contextlib.suppress(Away):  # `_store` has logged it
                    await self._say_alive()
                    await self._end_dead_nodes()
            for opened in list(self._rooms.values()):
                try:
                    self._tell_speakers(opened)
                    with contextlib.suppress(Away):
                        await self._pass_time(opened, now)
                except Exception:  # one room's fault stops no other's time
                    log.exception("meeting.time_stands_still", room=opened.id)

    async def _pass_time(self, opened: _Open, now: float) -> None:
        if opened.view is None:
            return
        due = due_at(opened.view.room, self._limits)
        room = opened.view.room
        for seat in room.seats.values():  # a loss that could not be stored when it was noticed
            held = seat.connection.node == self._node and seat.connection.number in opened.guests
            if seat.connection.node == self._node and seat.away_since is None and not held:
                await self._change(opened, lambda room, seat=seat: lose(room, seat.connection, now))
        if due is not None and due <= now:
            await self._change(opened, lambda room: pass_time(room, now, self._limits))
        elif room.seats and now >= opened.stored_at + self._limits.life_s / 2:
            await self._change(opened, lambda room: room, touch=True)

    async def _say_alive(self) -> None:
        name = f"meeting-node:{self._node}"
        document = await self._store(self._documents.get(name))
        over = 0 if document is None else document.version
        await self._store(self._documents.put(name, b"", over=over, life_s=_NODE_LIFE_S))

    async def _end_dead_nodes(self) -> None:
        """Lose the sockets of nodes that are there no longer."""
        for opened in list(self._rooms.values()):
            if opened.view is None:
                continue
            room = opened.view.room
            held = [*room.seats.values(), *room.waiting.values()]
            others = {one.connection.node for one in held} - {self._node}
            dead = {
                node
                for node in others
                if await self._store(self._documents.get(f"meeting-node:{node}")) is None
            }
            if dead:
                log.warning("meeting.nodes_lost", room=room.id, nodes=sorted(dead))
                await self._change(opened, lambda now, dead=dead: lose_nodes(now, dead, self._clock()))

    def _shut_if_idle(self, opened: _Open) -> None:
        """Keep no room open in which nobody of this node has or had a seat."""
        room = None if opened.view is None else opened.view.room
        held = () if room is None else (*room.seats.values(), *room.waiting.values())
        if opened.users == 0 and not opened.guests and all(one.connection.node != self._node for one in held):
            self._shut(opened)

    def _shut(self, opened: _Open) -> None:
        if opened.watch is not None:
            opened.watch.close()
        if self._rooms.get(opened.id) is opened:
            del self._rooms[opened.id]
        _open.set(len(self._rooms))


def _name(room: str) -> str:
    return f"meeting-room:{room}"


def _parted(before: Room, after: Room) -> list[str]:
    """Who was in a place that somebody left for another one."""
    left = {
        seat.place
        for key, seat in before.seats.items()
        if key in after.seats and after.seats[key].place != seat.place
    }
    return [key for key, seat in before.seats.items() if seat.place in left and key in after.seats]


def _who(speakers: tuple[Speaker, ...]) -> list[str]:
    return [speaker.member for speaker in speakers]
