"""Bytes and time for the transports of a node: the edge between the socket and the machines.

    socket readable -> media: packets go their way, STUN and DTLS come up here
        STUN  -> checked and answered with the cluster secret alone, whosever session it is
        DTLS  -> the session's endpoint, or the client's hello to a session that nobody has claimed
    timer due       -> the endpoints and the media whose moment it is
    after either    -> datagrams out, events to reconcile

A session is claimed, by compare-and-set on its record, when the first DTLS datagram comes from an
address that passed a check; where the SDP makes us the DTLS client, at the first check.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from sfu.base.log import get_logger
from sfu.base.settings import Setting
from sfu.base.timers import Timers
from sfu.directory.interface import DirectoryError
from sfu.media.control import LimitReached, MediaError
from sfu.media.events import DatagramKind
from sfu.negotiation.owner import set_owner
from sfu.sessions.reconcile import Reconciler
from sfu.sessions.unclaimed import UnclaimedSessions
from sfu.sessions.watching import wait_for_session
from sfu.sessions.writes import RecordWrites
from sfu.transport.dtls import DtlsRole
from sfu.transport.endpoint import Endpoint
from sfu.transport.events import (
    Closed,
    Connected,
    ConsentExpired,
    Disconnected,
    Expired,
    Failed,
    PathDropped,
    PathSelected,
    PathValid,
    Reconnected,
)
from sfu.transport.ice import CheckRefused, Refusal, answer_check, read_check
from sfu.wire.dtls_record import ContentType

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sfu.base.ids import NodeId, SessionId
    from sfu.directory.interface import Directory
    from sfu.media.control import MediaControl
    from sfu.media.events import ControlDatagram, PeerId
    from sfu.negotiation.record import SessionRecord
    from sfu.net.address import Path
    from sfu.sessions.statistics import MediaStatistics
    from sfu.sessions.unclaimed import Unclaimed
    from sfu.sessions.writes import Update
    from sfu.transport.dtls import DtlsContext
    from sfu.transport.events import TransportEvent
    from sfu.transport.ice import Check

HANDSHAKES_LIMIT = Setting(
    "sessions.handshakes",
    int,
    2_000,
    minimum=1,
    help="Sessions that may be between their first connectivity check and the end of DTLS at one time",
)
CLAIM_WAIT_S = 30.0  # chosen: the time that DTLS gives a handshake

log = get_logger("transport")

_checks = Counter("orchard_ice_checks_total", "Connectivity checks answered")
_checks_refused = Counter("orchard_ice_checks_refused_total", "STUN datagrams met with silence", ["reason"])
_dtls_dropped = Counter("orchard_dtls_dropped_total", "DTLS datagrams of no session", ["reason"])
_ended = Counter("orchard_transports_ended_total", "Transports that came to an end", ["reason"])
_faults = Counter("orchard_transport_faults_total", "Errors of our own while serving one client", ["where"])
_handshakes = Gauge("orchard_dtls_handshakes", "Sessions between their first check and the end of DTLS")
_setup_s = Histogram(
    "orchard_transport_setup_seconds",
    "From the first connectivity check to the end of DTLS",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)


@dataclass(slots=True)
class _Transport:
    """One claimed session. `association` is the record's; `handshake_since` is the time of its first check,
    None once DTLS is done; `flights` are the paths that its handshake was sent to.
    """

    endpoint: Endpoint
    peer: PeerId
    association: int
    handshake_since: float | None = None
    paths: set[Path] = field(default_factory=set["Path"])
    flights: set[Path] = field(default_factory=set["Path"])


class Driver:
    """The transports of one node.

    `context_of` gives the DTLS context of the certificate that a session's SDP named, or None if the
    node has it no more. `update` stores an owner's change of a record (`SessionService.update`).
    """

    def __init__(
        self,
        media: MediaControl,
        directory: Directory,
        update: Update,
        *,
        node: NodeId,
        cluster_secret: bytes,
        context_of: Callable[[str], DtlsContext | None],
        handshakes_limit: int = HANDSHAKES_LIMIT.default,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._media = media
        self._directory = directory
        self._update = update
        self._node = node
        self._cluster_secret = cluster_secret
        self._context_of = context_of
        self._handshakes_limit = handshakes_limit
        self._clock = clock
        self._writes = RecordWrites(update)
        self._reconciler = Reconciler(media, directory, self._writes, self)
        self._transports: dict[SessionId, _Transport] = {}
        self._by_peer: dict[PeerId, SessionId] = {}
        self._by_path: dict[Path, SessionId] = {}
        # Sessions that passed a check on a path which another one is heard on (`_take_path`).
        self._contenders: dict[Path, SessionId] = {}
        self._handshaking = 0
        self._unclaimed = UnclaimedSessions(handshakes_limit)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: Timers[SessionId] = Timers()
        self._armed: asyncio.TimerHandle | None = None
        self._armed_at: float | None = None
        self._awaits_room = False  # told by the loop when the full socket is writable

    # start and stop

    def start(self) -> None:
        """Read the socket from now on."""
        asyncio.get_running_loop().add_reader(self._media.fileno(), self._on_readable)
        self._arm()

    async def stop(self) -> None:
        """Read nothing more and say goodbye to every client."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._media.fileno())  # first: a check makes new tasks
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        for session in list(self._transports):
            self.close(session)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        loop.remove_writer(self._media.fileno())
        await self._writes.settle()

    def sizes(self) -> dict[str, int]:
        """How many of each thing are held: all are 0 on a node without sessions."""
        return {
            "transports": len(self._transports),
            "handshaking": self._handshaking,
            "unclaimed": len(self._unclaimed),
            "tasks": len(self._tasks),
            "paths": len(self._by_path) + len(self._contenders),
            "media": len(self._reconciler),
        }

    def statistics(self, session: SessionId) -> MediaStatistics | None:
        """What the media of a session has done; None if this node does not hold it."""
        return self._reconciler.statistics(session, self._clock())

    # what reconcile asks (Transports)

    def restart(self, record: SessionRecord) -> None:
        """The record has new ICE parameters, or a new association."""
        transport = self._transports.get(record.id)
        if transport is None or record.client is None:
            return
        fingerprints = [str(fingerprint) for fingerprint in record.client.fingerprints]
        now = self._clock()
        transport.endpoint.restart_ice(record.generation, record.client.ufrag, fingerprints, now)
        if record.association != transport.association:
            transport.association = record.association
            transport.endpoint.begin_anew(_role_of(record))
            self._handshake_begins(transport, now)
        self._after(record.id, transport, [])
        self._arm()

    def close(self, session: SessionId) -> None:
        """Say goodbye to the client and forget its transport."""
        transport = self._transports.get(session)
        if transport is None:
            return
        transport.endpoint.close()
        for path, data in transport.endpoint.take_datagrams():
            self._media.send(path, data)
        self._forget(session, "closed_by_us")

    def media_told(self) -> None:
        """Call the packet path when it wants to be, which may be sooner than before."""
        self._arm()

    # the socket

    def _on_readable(self) -> None:
        now = self._clock()
        for datagram in self._media.on_readable(now):
            try:
                if datagram.kind is DatagramKind.STUN:
                    self._on_stun(datagram.path, datagram.data, now)
                else:
                    self._on_dtls(datagram, now)
            except Exception:  # one client's trouble must not cost the others their datagrams
                _faults.labels("datagram").inc()
                log.exception("transport.datagram_fault")
        self._reconciler.media_events(self._media.take_events())
        self._arm()

    def _on_stun(self, path: Path, data: bytes, now: float) -> None:
        try:
            check = read_check(data, cluster_secret=self._cluster_secret)
            transport = self._transports.get(check.session)
            if transport is not None:
                self._after(check.session, transport, transport.endpoint.receive_check(check, path, now))
                self._checked(check.session, transport, path)
            elif self._unclaimed.is_gone(check.session, now):
                raise CheckRefused(Refusal.OVER)
            elif check.error is None:
                self._on_unclaimed_check(check, path, now)
        except CheckRefused as refused:
            _checks_refused.labels(refused.reason.value).inc()
            return
        _checks.inc()
        self._media.send(path, answer_check(check, path, cluster_secret=self._cluster_secret))

    def _on_unclaimed_check(self, check: Check, path: Path, now: float) -> None:
        unclaimed = self._unclaimed.get(check.session)
        if unclaimed is None:
            unclaimed = self._unclaimed.add(check.session, now)
            unclaimed.claim = self._run(self._claim(unclaimed), f"claim {check.session}")
        self._unclaimed.checked(unclaimed, path, check)
        try:
            self._media.expect_dtls(path, now)
        except LimitReached:
            _dtls_dropped.labels("paths_limit").inc()  # the next check tries again

    def _checked(self, session: SessionId, transport: _Transport, path: Path) -> None:
        """The last check on a path decides whose it is, so one that was lost comes back."""
        if path in transport.paths and session in self._transports:
            self._unclaimed.leave(path)
            if self._by_path.get(path) != session:
                self._take_path(session, transport, path)

    def _on_dtls(self, datagram: ControlDatagram, now: float) -> None:
        # A check decides whose path it is, so a session that is not claimed goes before the peer
        # that was last seen there.
        unclaimed = self._unclaimed.on_path(datagram.path)
        if unclaimed is not None:
            unclaimed.keep_datagram(datagram.path, datagram.data)
            return
        session = self._handshaking_on(datagram) or (
            None if datagram.peer is None else self._by_peer.get(datagram.peer)
        )
        transport = None if session is None else self._transports.get(session)
        if session is None or transport is None:
            _dtls_dropped.labels("no_session").inc()
            return
        self._after(session, transport, transport.endpoint.receive_dtls(datagram.data, datagram.path, now))

    def _handshaking_on(self, datagram: ControlDatagram) -> SessionId | None:
        """The session whose handshake may be under way on a path that another one is heard on."""
        session = self._contenders.get(datagram.path)
        if session is None or datagram.data[0] == ContentType.ALERT:
            return None
        return session if self._transports[session].handshake_since is not None else None

    # claiming

    async def _claim(self, unclaimed: Unclaimed) -> None:
        """Wait until the session's record says who the client is, claim it, and begin with DTLS."""
        session = unclaimed.session
        try:
            async with asyncio.timeout(CLAIM_WAIT_S):
                record = await wait_for_session(self._directory, session, _knows_client)
                if record is None:
                    self._unclaimed.note_gone(session, self._clock())
                    return
                if record.dtls_role != "client":
                    await self._hello(unclaimed)
                record = await self._update(session, lambda record: set_owner(record, self._node))
                if record is None:
                    self._unclaimed.note_gone(session, self._clock())
        except TimeoutError:
            return  # a client that checks and never says hello
        except DirectoryError as error:
            log.warning("session.claim_failed", session=session, error=str(error))
            return
        finally:
            # What still waits belongs to the session; a late claim of a dropped entry owns nothing.
            held = self._unclaimed.get(session) is unclaimed
            if held:
                self._unclaimed.remove(session)
        if held and record is not None and record.transport_state != "closed":
            self._begin(record, unclaimed)

    async def _hello(self, unclaimed: Unclaimed) -> None:
        """Wait for the client's first DTLS datagram, or until its session is deleted."""

        def changed(record: SessionRecord | None) -> None:
            if record is None:
                unclaimed.hello.set()

        watch = self._directory.watch(unclaimed.session, changed)
        try:
            await unclaimed.hello.wait()
        finally:
            watch.close()

    def _begin(self, record: SessionRecord, unclaimed: Unclaimed) -> None:
        now = self._clock()
        context = self._context_of(record.fingerprint.value)
        if context is None or record.client is None:
            log.warning("session.certificate_missing", session=record.id)
            return
        if self._handshaking >= self._handshakes_limit:
            _dtls_dropped.labels("handshakes_limit").inc()
            return
        try:
            peer = self._reconciler.adopt(record)
        except MediaError as error:
            log.warning("session.no_media", session=record.id, error=str(error))
            return
        endpoint = Endpoint(
            context,
            _role_of(record),
            [str(fingerprint) for fingerprint in record.client.fingerprints],
            generation=record.generation,
            remote_ufrag=record.client.ufrag,
            now=now,
        )
        transport = _Transport(endpoint, peer, record.association)
        self._transports[record.id] = transport
        self._by_peer[peer] = record.id
        self._handshake_begins(transport, unclaimed.since)
        log.info("session.claimed", session=record.id, took_ms=round((now - unclaimed.since) * 1000))
        for path, check in unclaimed.checks.items():
            try:
                self._after(record.id, transport, endpoint.receive_check(check, path, now))
            except CheckRefused as refused:
                _checks_refused.labels(refused.reason.value).inc()
        for path, data in unclaimed.datagrams:
            if record.id in self._transports:
                self._after(record.id, transport, endpoint.receive_dtls(data, path, now))
        self._arm()

    # events and time

    def _after(self, session: SessionId, transport: _Transport, events: list[TransportEvent]) -> None:
        """Pass on what a call of the endpoint has brought: events first, since they open paths.

        Only a handshake's last flight goes before the media that starts with it: no client opens any
        before it has read that. Whether it does will never be known, so the flight proves no path.
        """
        for event in events:
            if isinstance(event, Connected):
                for path, data in transport.endpoint.take_datagrams():
                    self._media.send(path, data)
            self._on_event(session, transport, event)
        for path, data in transport.endpoint.take_datagrams():
            if transport.handshake_since is not None:
                transport.flights.add(path)
            self._media.send(path, data)
        if session in self._transports:
            self._timers.set(session, transport.endpoint.timer_at())

    def _on_event(self, session: SessionId, transport: _Transport, event: TransportEvent) -> None:
        match event:
            case PathValid(path):
                transport.paths.add(path)
                self._take_path(session, transport, path)
            case PathSelected(path):
                if self._by_path.get(path) == session:
                    self._reconciler.select_path(session, path)
            case PathDropped(path):
                transport.paths.discard(path)
                if self._release_path(session, path):
                    self._media.forget_path(path)
            case Connected(keys):
                if transport.handshake_since is not None:
                    _setup_s.observe(self._clock() - transport.handshake_since)
                self._handshake_over(transport)
                self._prove_path(session, transport)
                self._reconciler.connected(session, keys)
                log.info("session.connected", session=session, profile=keys.profile.name)
            case Disconnected() | ConsentExpired():
                self._reconciler.transport_state(session, "disconnected")
                log.info("session.disconnected", session=session, media=isinstance(event, Disconnected))
            case Reconnected():
                self._reconciler.transport_state(session, "connected")
                log.info("session.reconnected", session=session)
            case Expired():
                self._over(session, "expired")
            case Closed():
                self._over(session, "closed")
            case Failed(reason, alert):
                log.info("session.transport_failed", session=session, reason=reason.value, alert=alert)
                self._over(session, reason.value)

    def _take_path(self, session: SessionId, transport: _Transport, path: Path) -> None:
        """Let the session have a path on which it passed a check.

        A check shows who sent it, not from where: its source address may be forged. So a path on
        which another session's media is heard stays that one's until it falls silent, or until the
        new one has done a whole handshake there (`_prove_path`): a 4-tuple may carry a new session
        at once after an old one.
        """
        try:
            if not self._reconciler.allow_path(session, path):
                self._contenders[path] = session
                return
        except LimitReached:
            _dtls_dropped.labels("paths_limit").inc()  # the next check tries again
            return
        self._own_path(session, transport, path)

    def _own_path(self, session: SessionId, transport: _Transport, path: Path) -> None:
        self._by_path[path] = session
        self._contenders.pop(path, None)
        if transport.endpoint.selected_path == path:
            self._reconciler.select_path(session, path)

    def _prove_path(self, session: SessionId, transport: _Transport) -> None:
        """The handshake has ended: who finished it has read what was sent, so it is where that went."""
        paths, transport.flights = transport.flights, set()
        if len(paths) == 1 and self._contenders.get(path := paths.pop()) == session:
            self._reconciler.take_path(session, path)
            self._own_path(session, transport, path)

    def _release_path(self, session: SessionId, path: Path) -> bool:
        """Whether the path was still the session's; another one may have it by now."""
        if self._contenders.get(path) == session:
            del self._contenders[path]
        if self._by_path.get(path) != session:
            return False
        del self._by_path[path]
        return True

    def _handshake_begins(self, transport: _Transport, since: float) -> None:
        if transport.handshake_since is None:
            self._handshaking += 1
            _handshakes.set(self._handshaking)
        transport.handshake_since = since

    def _handshake_over(self, transport: _Transport) -> None:
        if transport.handshake_since is not None:
            transport.handshake_since = None
            self._handshaking -= 1
            _handshakes.set(self._handshaking)

    def _over(self, session: SessionId, reason: str) -> None:
        """The transport has ended by itself: the session is no use to anyone."""
        self._forget(session, reason)
        self._run(self._delete(session), f"delete {session}")

    async def _delete(self, session: SessionId) -> None:
        try:
            await self._directory.delete_session(session)
        except DirectoryError as error:
            log.warning("session.delete_failed", session=session, error=str(error))

    def _forget(self, session: SessionId, reason: str) -> None:
        transport = self._transports.pop(session)
        del self._by_peer[transport.peer]
        self._timers.set(session, None)
        self._handshake_over(transport)
        self._reconciler.release(session)  # the peer goes, and its paths with it
        for path in transport.paths:
            self._release_path(session, path)
        _ended.labels(reason).inc()
        log.info("session.ended", session=session, reason=reason)

    def _run(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _on_timer(self) -> None:
        now = self._clock()
        self._armed = None
        self._armed_at = None
        for session in self._timers.take_due(now):
            transport = self._transports[session]
            try:
                self._after(session, transport, transport.endpoint.handle_timer(now))
            except Exception:  # the others' moments have come as well
                _faults.labels("timer").inc()
                log.exception("transport.timer_fault", session=session)
                if session in self._transports:
                    self._over(session, "fault")
        if self._media.timer_at() <= now:
            self._media.handle_timer(now)
        self._reconciler.media_events(self._media.take_events())
        self._arm()

    def _on_writable(self) -> None:
        self._media.on_writable()
        if not self._media.blocked:
            self._awaits_room = False
            asyncio.get_running_loop().remove_writer(self._media.fileno())
        self._reconciler.media_events(self._media.take_events())
        self._arm()  # what the slice had no time for goes on at once

    def _arm(self) -> None:
        """One timer of the loop for everything, moved only when an earlier moment has come up; and a
        call when the socket has room again, if it is full."""
        if self._media.blocked and not self._awaits_room:
            self._awaits_room = True
            asyncio.get_running_loop().add_writer(self._media.fileno(), self._on_writable)
        ours, at = self._timers.next_at(), self._media.timer_at()
        if ours is not None and ours < at:
            at = ours
        if self._armed_at is not None and self._armed_at <= at:
            return
        if self._armed is not None:
            self._armed.cancel()
        self._armed_at = at
        delay_s = max(0.0, at - self._clock())
        self._armed = asyncio.get_running_loop().call_later(delay_s, self._on_timer)


def _role_of(record: SessionRecord) -> DtlsRole:
    return DtlsRole.CLIENT if record.dtls_role == "client" else DtlsRole.SERVER


def _knows_client(record: SessionRecord) -> bool:
    return record.client is not None and record.dtls_role is not None
