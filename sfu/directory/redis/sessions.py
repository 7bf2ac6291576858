"""Session records in Redis: compare-and-set by script, and watches that miss nothing.

A watch subscribes to the session's channel and then reads the record, on one connection, where answers and
messages arrive in the order in which things happened; each message carries the new record. When the
connection is lost, so may be messages: on the next one every watched session is subscribed to and read
anew. What Redis then knows less of than this node, and this node owns, is written back: Redis may have
been restarted empty, or a replica have taken over that lacked the last writes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import Counter

from sfu.base.ids import SessionId
from sfu.base.log import get_logger
from sfu.directory.interface import Conflict, Unavailable
from sfu.directory.redis.layout import CREATE, DELETE, REPLACE, RESTORE
from sfu.directory.redis.link import Command
from sfu.directory.redis.sealed import opened
from sfu.directory.seal import NewerFormat, Unreadable
from sfu.directory.watching import LocalWatch
from sfu.negotiation.record import RECORD_FORMAT, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sfu.base.ids import NodeId
    from sfu.directory.interface import SessionCallback
    from sfu.directory.redis.layout import Keys
    from sfu.directory.redis.link import Link
    from sfu.directory.seal import Sealer
    from sfu.negotiation.record import SessionRecord

TOMBSTONE_S: Final = 3600  # chosen: a node that was cut off for longer does not write back what is not there
RESTORING_S: Final = 5.0  # chosen: all nodes are back from an outage and have written back what they own
_STRAY_S: Final = 60.0  # chosen: a creation is not under way for so long
_TOGETHER: Final = 64  # records that are read at once; chosen: about 10 ms of the event loop
_LISTED: Final = 500
_RETRY_S: Final = 1.0

log = get_logger("directory")

_restored = Counter("orchard_directory_restored_total", "Sessions written back that the store had lost")


@dataclass(slots=True)
class _Entry:
    """A session that is watched here.

    `record` and `version` are what Redis was last heard to have, version 0 for a session that it never had.
    While `confirmed` is False that may be old: since the connection was lost, or as it is still being read.
    `refused` is set where what is there can't be read, so that it is not read again and again.
    """

    session: SessionId
    watches: set[LocalWatch] = field(default_factory=set[LocalWatch])
    told: set[LocalWatch] = field(default_factory=set[LocalWatch])
    confirmed: bool = False
    refused: bool = False
    version: int = 0
    record: SessionRecord | None = None


class Sessions:
    """All sessions, through one link. `node` is who writes back what it owns."""

    def __init__(self, link: Link, keys: Keys, sealer: Sealer, node: NodeId | None) -> None:
        self._link = link
        self._keys = keys
        self._sealer = sealer
        self._node = node
        self._entries: dict[SessionId, _Entry] = {}
        self._lost_at = 0.0
        self._missing_is_lost = False
        self._restoring_until = 0.0
        self._resync: asyncio.Task[None] | None = None

    # the connection

    def connected(self, *, data_lost: bool) -> None:
        """There is a new connection; `data_lost` if the store is not the one that it was."""
        now = asyncio.get_running_loop().time()
        self._missing_is_lost = data_lost or now - self._lost_at < TOMBSTONE_S
        if data_lost:
            self._restoring_until = now + RESTORING_S
        self._resync = asyncio.create_task(self._confirm_all(), name="redis watches")

    def lost(self) -> None:
        """The connection is gone: from now on anything may be missed."""
        self._lost_at = asyncio.get_running_loop().time()
        if self._resync is not None:
            self._resync.cancel()
        for entry in self._entries.values():
            entry.confirmed = entry.refused = False

    def told(self, channel: bytes, message: bytes) -> None:
        """A message on a session's channel: its version, a colon, and the sealed record or nothing."""
        session = SessionId(channel.rpartition(b"{")[2].rstrip(b"}").decode())
        entry = self._entries.get(session)
        if entry is None:
            return  # the last watch was closed meanwhile
        version, _, sealed = message.partition(b":")
        if entry.confirmed and entry.version == int(version) and bool(sealed) == (entry.record is not None):
            return  # this node's own change
        try:
            record = self._opened(session, int(version), sealed) if sealed else None
        except Unreadable as error:
            log.warning("directory.unreadable", reason=str(error))
            return
        self._learn(entry, int(version), record)

    # reading and changing

    async def create(self, record: SessionRecord) -> SessionRecord:
        """Store a new session; Conflict if its id is or was taken."""
        stored = replace(record, version=1)
        words = CREATE.words((self._keys.session(record.id),), self._sealed(stored))
        index = [
            Command(("ZADD", key, repr(record.created_at), record.id))
            for key in (self._keys.sessions, self._keys.unconnected)
        ]
        try:
            answers = await self._link.call_all([*index, Command(words, self._learning(record.id, stored))])
        except Unavailable:
            self._link.post(self._deletion(record.id, None))  # of these, some may have been done
            raise
        if answers[-1]:
            raise Conflict(record.id, given=0, stored=answers[-1])
        return stored

    async def get(self, session: SessionId) -> SessionRecord | None:
        """The session as it stands, or None."""
        return await self._link.call(self._reading(session))

    def known(self, session: SessionId) -> SessionRecord | None:
        """The session as last heard of, if it is watched and the connection there."""
        entry = self._entries.get(session)
        return entry.record if entry is not None and entry.confirmed else None

    async def replace(self, record: SessionRecord) -> SessionRecord:
        """Store over the version that `record` carries; Conflict if that is not the one there."""
        stored = replace(record, version=record.version + 1)
        words = REPLACE.words(
            (self._keys.session(record.id),), record.version, stored.version, self._sealed(stored)
        )
        found = await self._link.call(Command(words, self._learning(record.id, stored)))
        if found:
            if found < 0:
                self._raise_if_restoring(record.id)
            raise Conflict(record.id, given=record.version, stored=None if found < 0 else found)
        return stored

    async def delete(self, session: SessionId, version: int | None) -> bool:
        """Forget a session, if it has `version`; False if it was not there."""
        found = await self._link.call(self._deletion(session, version))
        if found > 0 and version is not None:
            raise Conflict(session, given=version, stored=found)
        if found < 0:
            self._raise_if_restoring(session)
        else:
            for key in (self._keys.sessions, self._keys.unconnected):
                self._link.post(Command(("ZREM", key, session)))
        return found == 0

    async def count(self) -> int:
        """The number of sessions, and of some that are just being deleted."""
        return await self._link.call(Command(("ZCARD", self._keys.sessions)))

    async def list_all(self, wall_now: float) -> AsyncIterator[SessionRecord]:
        """All sessions that can be read, oldest first."""
        async for ids, times in self._indexed():
            for session, created_at, found in zip(ids, times, await self._read_all(ids), strict=True):
                if isinstance(found, Unreadable):
                    continue
                if found is not None:
                    yield found
                elif wall_now - created_at > _STRAY_S and not self._is_restoring():
                    self._link.post(Command(("ZREM", self._keys.sessions, session)))

    async def list_unconnected(self, before: float) -> list[SessionRecord]:
        """Sessions created before `before` that never connected, oldest first; some hundred at most."""
        words = ("ZRANGE", self._keys.unconnected, "-inf", f"({before!r}", "BYSCORE", "LIMIT", 0, _LISTED)
        ids = [SessionId(member.decode()) for member in await self._link.call(Command(words))]
        unconnected: list[SessionRecord] = []
        for session, found in zip(ids, await self._read_all(ids), strict=True):
            if isinstance(found, Unreadable):
                if isinstance(found, NewerFormat):
                    continue  # those who can read it will see to it
            elif found is not None and found.transport_state == "new":
                unconnected.append(found)
                continue
            elif found is None and self._is_restoring():
                continue
            self._link.post(Command(("ZREM", self._keys.unconnected, session)))
        return unconnected

    # watches

    def watch(self, session: SessionId, callback: SessionCallback) -> LocalWatch:
        """Call `callback` with the session as it stands, then after each change."""
        entry = self._entries.get(session)
        if entry is None:
            entry = self._entries[session] = _Entry(session)
            self._follow(entry)
        watch = LocalWatch(lambda: callback(entry.record), self._forget, session)
        entry.watches.add(watch)
        if entry.confirmed:
            entry.told.add(watch)
            watch.wake()
        return watch

    def _forget(self, watch: LocalWatch) -> None:
        entry = self._entries.get(watch.session)
        if entry is None or watch not in entry.watches:
            return
        entry.watches.discard(watch)
        entry.told.discard(watch)
        if not entry.watches:
            del self._entries[watch.session]
            self._link.post(Command(("UNSUBSCRIBE", self._keys.session(watch.session))))

    def _follow(self, entry: _Entry) -> None:
        """Subscribe, then read."""
        self._link.post(Command(("SUBSCRIBE", self._keys.session(entry.session))))
        self._link.post(self._reading_any(entry.session))

    def _learn(self, entry: _Entry, version: int, record: SessionRecord | None) -> None:
        """What Redis has, in the order in which it had it; who watches is told if it is news."""
        news = record != entry.record
        entry.version, entry.record, entry.confirmed, entry.refused = version, record, True, False
        for watch in entry.watches if news else entry.watches - entry.told:
            entry.told.add(watch)
            watch.wake()

    async def _confirm_all(self) -> None:
        """Follow every watched session on this connection, as often as it takes."""
        while True:
            waiting = [entry for entry in self._entries.values() if not (entry.confirmed or entry.refused)]
            for start in range(0, len(waiting), _TOGETHER):
                entries = waiting[start : start + _TOGETHER]
                try:
                    await self._link.call_all(
                        [
                            command
                            for entry in entries
                            for command in (
                                Command(("SUBSCRIBE", self._keys.session(entry.session))),
                                self._reading_any(entry.session),
                            )
                        ]
                    )
                except Unavailable as error:
                    log.warning("directory.watches_unconfirmed", reason=str(error))
            await asyncio.sleep(_RETRY_S)

    # what is read

    def _reading(self, session: SessionId) -> Command[SessionRecord | None]:
        words = ("HMGET", self._keys.session(session), "v", "r")
        return Command(words, lambda answer: self._read(session, *answer))

    def _read(self, session: SessionId, version: bytes | None, sealed: bytes | None) -> SessionRecord | None:
        """What an answer says of a session. Raises Unreadable, and Unavailable for one that may come back."""
        number = 0 if version is None else int(version)
        record = None if sealed is None else self._opened(session, number, sealed)
        entry = self._entries.get(session)
        if entry is not None and not entry.confirmed and self._knows_better(entry, version, number, sealed):
            self._restore(entry)
        elif version is None and self._is_restoring():
            self._raise_if_restoring(session)
        elif entry is not None:
            self._learn(entry, number, record)
        return record

    def _knows_better(self, entry: _Entry, version: bytes | None, number: int, sealed: bytes | None) -> bool:
        """Whether Redis has lost what this node wrote, or heard, of a session that it owns."""
        if entry.record is None or self._node is None or entry.record.owner != self._node:
            return False
        if version is None:
            return self._missing_is_lost
        return sealed is not None and number < entry.version

    def _restore(self, entry: _Entry) -> None:
        record = entry.record
        assert record is not None  # noqa: S101 -- _knows_better
        for key in (self._keys.sessions, self._keys.unconnected):
            self._link.post(Command(("ZADD", key, repr(record.created_at), record.id)))

        def restored(found: int) -> None:
            if found == 0:
                _restored.inc()
                log.info("directory.session_restored", session=record.id, version=record.version)
                self._learn(entry, record.version, record)
            elif found < 0:
                self._learn(entry, entry.version, None)
            else:
                self._link.post(self._reading_any(record.id))

        words = RESTORE.words((self._keys.session(record.id),), record.version, self._sealed(record))
        self._link.post(Command(words, restored))

    def _deletion(self, session: SessionId, version: int | None) -> Command[int]:
        arguments = ("" if version is None else version, TOMBSTONE_S * 1000)
        words = DELETE.words((self._keys.session(session),), *arguments)
        return Command(words, self._learning(session, None))

    def _learning(self, session: SessionId, stored: SessionRecord | None) -> Any:
        """Reads the answer to a change: 0 says that it was made."""

        def read(found: int) -> int:
            entry = self._entries.get(session)
            if found == 0 and entry is not None:
                self._learn(entry, entry.version if stored is None else stored.version, stored)
            return found

        return read

    async def _read_all(self, sessions: Sequence[SessionId]) -> list[SessionRecord | Unreadable | None]:
        """The sessions, or why one can't be read."""
        found: list[SessionRecord | Unreadable | None] = []
        for start in range(0, len(sessions), _TOGETHER):
            some = sessions[start : start + _TOGETHER]
            found += await self._link.call_all([self._reading_any(session) for session in some])
        return found

    def _reading_any(self, session: SessionId) -> Command[SessionRecord | Unreadable | None]:
        reading = self._reading(session)

        def read(answer: Any) -> SessionRecord | Unreadable | None:
            try:
                return reading.read(answer)
            except Unreadable as error:
                log.warning("directory.unreadable", reason=str(error))
                if (entry := self._entries.get(session)) is not None:
                    entry.refused = True
                return error
            except Unavailable:
                return None  # not back yet

        return Command(reading.words, read)

    async def _indexed(self) -> AsyncIterator[tuple[list[SessionId], list[float]]]:
        """The ids of all sessions, and when they were created, some at a time."""
        start, skip = "-inf", 0
        seen: set[SessionId] = set()
        while True:
            span = (start, "+inf", "BYSCORE", "LIMIT", skip, _LISTED)
            rows = await self._link.call(Command(("ZRANGE", self._keys.sessions, *span, "WITHSCORES")))
            fresh = [(SessionId(member.decode()), score) for member, score in rows]
            fresh = [(session, score) for session, score in fresh if session not in seen]
            seen.update(session for session, _ in fresh)
            yield [session for session, _ in fresh], [score for _, score in fresh]
            if len(rows) < _LISTED:
                return
            last = repr(rows[-1][1])
            start, skip = last, (skip + _LISTED if last == start else 0)

    def _is_restoring(self) -> bool:
        return asyncio.get_running_loop().time() < self._restoring_until

    def _raise_if_restoring(self, session: SessionId) -> None:
        if self._is_restoring():
            raise Unavailable(f"session {session}: Redis has lost its data, and the nodes write it back")

    def _sealed(self, record: SessionRecord) -> bytes:
        return self._sealer.seal(
            "session", record.id, to_json(record), form=RECORD_FORMAT, version=record.version
        )

    def _opened(self, session: SessionId, version: int, sealed: bytes) -> SessionRecord:
        """The record of a sealed one. Raises Unreadable."""
        return opened(
            self._sealer, "session", session, sealed, from_json, form=RECORD_FORMAT, version=version
        )
