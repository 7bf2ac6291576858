"""The session service: what each API call does.

A call loads the session's record, applies a pure function of `sfu.negotiation` to it, and stores the
result by compare-and-set. The owner of the session sees the new record and makes its media match; the
service itself holds no state of any session.

One change at a time: while a call changes a session, another one is refused (406). Within a process
a set of ids tells; between processes the compare-and-set does. The owner writes to the record as well
(`update`): a call that loses to it starts over with what the owner stored, unseen by the client.

What needs media waits for it, by watching the record: a pull first for the session's own transport,
then for the publishers' media (`sfu.sessions.publishers`).
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from prometheus_client import Counter

from sfu.base.ids import new_session_id
from sfu.base.log import get_logger
from sfu.base.settings import Setting
from sfu.directory.interface import Conflict
from sfu.negotiation.requests import NewSession, publishers_of
from sfu.negotiation.session import create_session, renegotiate, view_session
from sfu.negotiation.tracks import close_tracks, new_tracks, update_tracks
from sfu.sessions.errors import (
    RequestRefused,
    draining,
    overlapping,
    session_gone,
    session_not_ready,
    too_many_sessions,
)
from sfu.sessions.publishers import await_published, look_up_published
from sfu.sessions.statistics import SessionStatistics
from sfu.sessions.watching import wait_for_session

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from sfu.base.ids import AppId, SessionId, TrackName
    from sfu.directory.interface import Directory
    from sfu.negotiation.record import SessionRecord
    from sfu.negotiation.requests import (
        CloseTracks,
        Context,
        NewTracks,
        Outcome,
        Published,
        Renegotiate,
        Renegotiated,
        SessionCreated,
        SessionDescription,
        SessionView,
        TrackRequest,
        TracksResponse,
        UpdateTracks,
    )
    from sfu.sessions.statistics import Measure

    TrackKey = tuple[SessionId, TrackName]

SESSIONS_LIMIT = Setting(
    "sessions.limit",
    int,
    100_000,
    minimum=1,
    help="Sessions of all apps together; past them sessions/new is answered 503",
)
CONNECT_WAIT_S = Setting(
    "sessions.connect_wait",
    float,
    5.0,
    unit="s",
    minimum=0.0,
    maximum=60.0,
    help="How long a call that needs the session's transport waits for it before it is answered 425",
)
MEDIA_WAIT_S = Setting(
    "sessions.media_wait",
    float,
    8.0,
    unit="s",
    minimum=0.0,
    maximum=60.0,
    help="How long a pull waits for the publisher's media before the track's error is returned",
)
UNCONNECTED_LIFE_S = Setting(
    "sessions.unconnected_life",
    float,
    30.0,
    unit="s",
    minimum=1.0,
    help="Life of a session whose PeerConnection never connected; calls are answered 410 after it",
)

# Work that takes longer than this many characters of SDP, read and written, leaves the event loop, which
# has media to forward: about 5 ms. Chromium's video section has 4500, ours half of it.
_LONG_SDP = 32_000
_OUR_SECTION = 500

log = get_logger("sessions")

_created = Counter("orchard_sessions_created_total", "Sessions created")
_refused = Counter("orchard_sessions_refused_total", "Calls refused by the service", ["reason"])
_conflicts = Counter("orchard_sessions_conflicts_total", "Changes of a session that were started over")

Response = TypeVar("Response")


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Bounds and waits of the service, in seconds where they are times."""

    sessions: int = SESSIONS_LIMIT.default
    connect_wait_s: float = CONNECT_WAIT_S.default
    media_wait_s: float = MEDIA_WAIT_S.default
    unconnected_life_s: float = UNCONNECTED_LIFE_S.default


class SessionService:
    """One method for each API operation, and `update` for the owner of a session.

    `context` is asked at each call, since certificates and addresses change. Methods raise
    RequestRefused, NegotiationError and the directory's Unavailable. A session of another app is
    answered as one that never was. `measure` gives what the media of a session has done, None if this
    node does not hold it.
    """

    def __init__(
        self,
        directory: Directory,
        context: Callable[[], Context],
        *,
        limits: ServiceLimits | None = None,
        measure: Measure | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._context = context
        self._limits = limits or ServiceLimits()
        self._measure = measure
        self._wall_clock = wall_clock
        self._draining = False
        self._changing: set[SessionId] = set()
        # One thread: it takes turns with the loop, and more would leave the loop fewer turns.
        self._aside = ThreadPoolExecutor(1, "negotiation")

    def close(self) -> None:
        """Let the thread beside the loop end; for when no call is under way any more."""
        self._aside.shutdown(wait=False, cancel_futures=True)

    def drain(self) -> None:
        """Take no new sessions from now on; those that are there go on."""
        self._draining = True

    def expired_before(self) -> float:
        """Sessions made before this moment (wall-clock seconds) have to have connected by now."""
        return self._wall_clock() - self._limits.unconnected_life_s

    async def create_session(
        self,
        app: AppId,
        description: SessionDescription | None = None,
        *,
        correlation_id: str | None = None,
        thirdparty: bool = False,
    ) -> SessionCreated:
        """A new session; with an offer, also its answer."""
        if self._draining:
            raise _counted(draining(), "draining")
        if await self._directory.count_sessions() >= self._limits.sessions:
            raise _counted(too_many_sessions(self._limits.sessions), "sessions_limit")
        request = NewSession(
            id=new_session_id(),
            app=app,
            created_at=self._wall_clock(),
            correlation_id=correlation_id,
            thirdparty=thirdparty,
            description=description,
        )
        context = self._context()
        outcome = await self._work_out(lambda: create_session(request, context), description)
        await self._directory.create_session(outcome.record)
        _created.inc()
        log.info("session.created", app=app, session=request.id, correlation_id=correlation_id)
        return outcome.response

    async def new_tracks(self, app: AppId, session: SessionId, request: NewTracks) -> TracksResponse:
        """Publish or pull. A pull waits for the session's transport and for the publishers' media."""
        with self._changes(session):
            record = await self._load(app, session)
            published: Published = {}
            wanted = self._worth_waiting_for(record, request.tracks)
            if wanted:
                record = await self._await_connected(app, record)
                published = await await_published(self._directory, app, wanted, self._limits.media_wait_s)
            return await self._apply(
                app,
                record,
                lambda now: new_tracks(now, request, self._context(), published),
                "session.tracks_new",
                request.description,
            )

    async def renegotiate(self, app: AppId, session: SessionId, request: Renegotiate) -> Renegotiated:
        """Take the answer to an offer of ours."""
        with self._changes(session):
            record = await self._load(app, session)
            return await self._apply(
                app,
                record,
                lambda now: renegotiate(now, request, self._context()),
                "session.renegotiate",
                request.description,
            )

    async def close_tracks(self, app: AppId, session: SessionId, request: CloseTracks) -> TracksResponse:
        """Close tracks, negotiated or by force."""
        with self._changes(session):
            record = await self._load(app, session)
            return await self._apply(
                app,
                record,
                lambda now: close_tracks(now, request, self._context()),
                "session.tracks_close",
                request.description,
            )

    async def update_tracks(self, app: AppId, session: SessionId, request: UpdateTracks) -> TracksResponse:
        """Change source or layer of what is received. Waits for the media of a new source."""
        with self._changes(session):
            record = await self._load(app, session)
            published: Published = {}
            wanted = self._worth_waiting_for(record, request.tracks)
            if wanted:
                here = {(pull.publisher, pull.track) for pull in record.subscriptions}
                published = {
                    # A track that is pulled already may be silent and still change its layer.
                    **await look_up_published(self._directory, app, wanted & here),
                    **await await_published(self._directory, app, wanted - here, self._limits.media_wait_s),
                }
            return await self._apply(
                app,
                record,
                lambda now: update_tracks(now, request, self._context(), published),
                "session.tracks_update",
            )

    async def view_session(self, app: AppId, session: SessionId) -> SessionView:
        """What is published and pulled in the session."""
        return view_session(await self._load(app, session))

    async def session_statistics(self, app: AppId, session: SessionId) -> SessionStatistics:
        """What the session's media has done, read where its counters are: it costs the media nothing."""
        record = await self._load(app, session)
        return SessionStatistics(
            session, record.transport_state, None if self._measure is None else self._measure(session)
        )

    async def delete_session(self, app: AppId, session: SessionId) -> None:
        """Destroy the session: its owner sees the record go and closes the transport."""
        await self._load(app, session)
        await self._directory.delete_session(session)
        log.info("session.deleted", app=app, session=session)

    async def update(
        self, session: SessionId, change: Callable[[SessionRecord], SessionRecord]
    ) -> SessionRecord | None:
        """Store `change` of the session's record, for its owner; again and again while others write.

        Returns the record as stored (as it was, if `change` returned it unchanged), or None if the
        session is gone.
        """
        while (record := await self._directory.get_session(session)) is not None:
            changed = change(record)
            if changed is record:
                return record
            try:
                return await self._directory.replace_session(changed)
            except Conflict:
                _conflicts.inc()
        return None

    @contextmanager
    def _changes(self, session: SessionId) -> Generator[None]:
        """Hold the session's turn in this process; refuse if another call has it."""
        if session in self._changing:
            raise _counted(overlapping(), "overlapping")
        self._changing.add(session)
        try:
            yield
        finally:
            self._changing.discard(session)

    def _worth_waiting_for(self, record: SessionRecord, tracks: Sequence[TrackRequest]) -> set[TrackKey]:
        """The tracks of others that a call names; none if it will be refused in any case."""
        if record.pending is not None or len(tracks) > self._context().limits.tracks_per_call:
            return set()
        return publishers_of(tracks)

    async def _load(self, app: AppId, session: SessionId) -> SessionRecord:
        return self._checked(app, await self._directory.get_session(session))

    def _checked(self, app: AppId, record: SessionRecord | None) -> SessionRecord:
        """`record` if calls of `app` may use it; otherwise it is as good as gone."""
        if record is None or record.app != app:
            raise _counted(session_gone(), "unknown")
        expired = record.transport_state == "new" and record.created_at <= self.expired_before()
        if record.transport_state == "closed" or expired:
            raise _counted(session_gone(), "expired")
        return record

    async def _apply(
        self,
        app: AppId,
        record: SessionRecord,
        change: Callable[[SessionRecord], Outcome[Response]],
        event: str,
        description: SessionDescription | None = None,
    ) -> Response:
        """Store what `change` makes of the record and the client's `description`; return its response.

        When the owner wrote in between, `change` is applied to what it stored. When another call
        renegotiated in between, on another node, this one came second: refused.
        """
        loaded = record
        outcome = await self._work_out(lambda: change(loaded), description, loaded)
        while True:
            if outcome.record == record:
                return outcome.response
            try:
                await self._directory.replace_session(outcome.record)
            except Conflict:
                _conflicts.inc()
                record = await self._load(app, record.id)
                if _negotiated(record) != _negotiated(loaded):
                    raise _counted(overlapping(), "overlapping") from None
                outcome = change(record)  # in the loop this time, where no owner can be faster again
                continue
            log.info(event, app=app, session=record.id, version=record.version + 1)
            return outcome.response

    async def _work_out(
        self,
        work: Callable[[], Outcome[Response]],
        description: SessionDescription | None,
        record: SessionRecord | None = None,
    ) -> Outcome[Response]:
        """What the pure function `work` returns or raises; beside the event loop if it takes long.

        How long follows from the client's SDP and from the m-lines of `record`.
        """
        size = 0 if description is None else len(description.sdp)
        size += 0 if record is None else len(record.mlines) * _OUR_SECTION
        if size < _LONG_SDP:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._aside, work)

    async def _await_connected(self, app: AppId, record: SessionRecord) -> SessionRecord:
        """Wait until a session that has negotiated is connected; one that has not yet, need not be.

        A first pull makes the first offer of its session, so there is nothing to wait for. One that counts as
        disconnected goes on as it is: two lost checks are enough for that, and its client is calling.
        """
        if record.client is None or record.transport_state in ("connected", "disconnected"):
            return record
        try:
            async with asyncio.timeout(self._limits.connect_wait_s):
                now = await wait_for_session(
                    self._directory, record.id, lambda now: now.transport_state == "connected"
                )
        except TimeoutError:
            raise _counted(session_not_ready(), "not_ready") from None
        return self._checked(app, now)


def _negotiated(record: SessionRecord) -> tuple[object, ...]:
    """What calls change and owners do not: if it differs, another call came first."""
    return (record.origin_version, record.pending, record.mlines, record.client)


def _counted(refusal: RequestRefused, reason: str) -> RequestRefused:
    _refused.labels(reason).inc()
    return refusal
