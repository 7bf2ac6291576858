"""Making a node's media match the records of the sessions that it owns.

The record says what was negotiated; this watches it and tells the packet path the difference: tracks
that a client publishes, subscriptions that it pulls, the paths and keys of its transport. What the
packet path and the transport report (connected, media arrives, a track is silent) goes the other way,
into the record, through `RecordWrites`.

Which track feeds which subscription is kept by name: a subscription may be there before its
publisher's track, outlive it, and find it again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from prometheus_client import Counter, Gauge

from sfu.base.log import get_logger
from sfu.media.control import MediaError
from sfu.media.events import KeyframeOverdue, TrackStalled, TrackStarted
from sfu.negotiation.errors import ItemError
from sfu.negotiation.owner import (
    end_subscriptions,
    end_track,
    refresh_sources,
    set_track_flowing,
    set_transport_state,
)
from sfu.negotiation.tracks import find_published
from sfu.sessions.routes import egress_of, ingress_of, routes_of, wish_of
from sfu.sessions.statistics import MediaStatistics, PublishedStatistics, PulledStatistics

if TYPE_CHECKING:
    from sfu.base.ids import AppId, Mid, SessionId, TrackName
    from sfu.directory.interface import Directory, Watch
    from sfu.media.control import MediaControl
    from sfu.media.events import EgressId, MediaEvent, PeerId, TrackId
    from sfu.media.tracks import Egress, IngressTrack
    from sfu.negotiation.record import ClientTransport, SessionRecord, Subscription, TransportState
    from sfu.net.address import Path
    from sfu.sessions.writes import RecordWrites
    from sfu.wire.srtp import SrtpKeys

    TrackKey = tuple[SessionId, TrackName]

ANSWER_WAIT_S = 0.2  # chosen: within it most clients have applied an answer that we gave over HTTP

log = get_logger("sessions")

_owned = Gauge("orchard_sessions_owned", "Sessions whose media this node holds")
_tracks = Gauge("orchard_tracks_published", "Tracks that sessions of this node publish")
_pulls = Gauge("orchard_tracks_pulled", "Subscriptions that this node sends")
_unmatched = Counter("orchard_sessions_unmatched_total", "Items of a record that the media refused", ["what"])


class Transports(Protocol):
    """What reconcile asks of the driver."""

    def restart(self, record: SessionRecord) -> None:
        """The record has new ICE parameters, or a new association."""
        ...

    def close(self, session: SessionId) -> None:
        """Say goodbye to the client and forget its transport; safe if it is gone already."""
        ...

    def media_told(self) -> None:
        """The packet path was told something at a moment of our own: it may want a timer, or room to send."""
        ...


@dataclass(slots=True)
class _Published:
    """A publication in the packet path."""

    name: TrackName
    track: TrackId
    ingress: IngressTrack


@dataclass(slots=True)
class _Pulled:
    """A subscription in the packet path, as `described` there; `track` is what feeds it now.

    `starting` is the timer that lets it go, None once it may.
    """

    egress: EgressId
    described: Egress
    subscription: Subscription
    track: TrackId | None
    starting: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class _Owned:
    """One session's media. `record` is the one that the packet path matches."""

    session: SessionId
    app: AppId
    peer: PeerId
    record: SessionRecord
    connected: bool = False
    published: dict[Mid, _Published] = field(default_factory=dict["Mid", _Published])
    pulled: dict[Mid, _Pulled] = field(default_factory=dict["Mid", _Pulled])
    watch: Watch | None = None


class Reconciler:
    """The media of all sessions that this node owns."""

    def __init__(
        self, media: MediaControl, directory: Directory, writes: RecordWrites, transports: Transports
    ) -> None:
        self._media = media
        self._directory = directory
        self._writes = writes
        self._transports = transports
        self._sessions: dict[SessionId, _Owned] = {}
        self._tracks: dict[TrackId, tuple[_Owned, TrackName]] = {}
        self._sources: dict[TrackKey, TrackId] = {}
        self._pulls: dict[TrackKey, set[tuple[SessionId, Mid]]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    # sessions

    def adopt(self, record: SessionRecord) -> PeerId:
        """This node has claimed the session: hold its media from now on and follow its record."""
        owned = _Owned(record.id, record.app, self._media.add_peer(), record)
        self._sessions[record.id] = owned
        try:
            self._match(owned, record)
        except BaseException:
            self.release(record.id)
            raise
        owned.watch = self._directory.watch(record.id, lambda now: self._changed(owned, now))
        _owned.set(len(self._sessions))
        return owned.peer

    def release(self, session: SessionId) -> None:
        """The session is over: drop its media, and end what others pull of it."""
        owned = self._sessions.pop(session, None)
        if owned is None:
            return
        if owned.watch is not None:
            owned.watch.close()
        self._writes.forget(session)
        for mid in list(owned.pulled):
            self._stop_pull(owned, mid)
        for mid in list(owned.published):
            self._unpublish(owned, mid)
        self._media.remove_peer(owned.peer)
        _owned.set(len(self._sessions))

    # transport

    def connected(self, session: SessionId, keys: SrtpKeys) -> None:
        """The handshake is done: media may flow both ways."""
        owned = self._sessions[session]
        self._media.set_keys(owned.peer, keys)
        owned.connected = True
        for pull in owned.pulled.values():
            if pull.starting is None:
                self._media.start_egress(pull.egress)
        self.transport_state(session, "connected")

    def transport_state(self, session: SessionId, state: TransportState) -> None:
        """Note in the record how the transport is."""
        self._writes.write(session, lambda record: set_transport_state(record, state))

    def allow_path(self, session: SessionId, path: Path) -> bool:
        """Media of the session may arrive on `path`; False while another one's does."""
        return self._media.allow_path(self._sessions[session].peer, path)

    def take_path(self, session: SessionId, path: Path) -> None:
        """The session is at the far end of `path`, whatever else arrives there."""
        self._media.take_path(self._sessions[session].peer, path)

    def select_path(self, session: SessionId, path: Path) -> None:
        """Media for the session leaves on `path`."""
        self._media.select_path(self._sessions[session].peer, path)

    # statistics

    def statistics(self, session: SessionId, now: float) -> MediaStatistics | None:
        """What the packet path has counted for the session; None if this node does not hold its media."""
        owned = self._sessions.get(session)
        if owned is None:
            return None
        return MediaStatistics(
            transport=self._media.peer_stats(owned.peer),
            published=tuple(
                PublishedStatistics(
                    mid, held.name, held.ingress.kind, self._media.track_stats(held.track, now)
                )
                for mid, held in owned.published.items()
            ),
            pulled=tuple(
                PulledStatistics(
                    mid,
                    held.subscription.publisher,
                    held.subscription.track,
                    held.described.kind,
                    held.described.ssrc,
                    self._media.egress_stats(held.egress),
                )
                for mid, held in owned.pulled.items()
            ),
        )

    # what the packet path says

    def media_events(self, events: list[MediaEvent]) -> None:
        """Note in the records what media has done."""
        for event in events:
            found = self._tracks.get(event.track)
            if found is None:
                continue  # removed since
            owned, name = found
            match event:
                case TrackStarted():
                    self._track_started(owned, name, event)
                case TrackStalled():
                    log.info("track.ended", session=owned.session, track=name, silent_s=event.silent_s)
                    self._writes.write(owned.session, lambda record, name=name: end_track(record, name))
                case KeyframeOverdue():
                    log.info(
                        "track.keyframe_overdue", session=owned.session, track=name, waited_s=event.waited_s
                    )

    def _track_started(self, owned: _Owned, name: TrackName, event: TrackStarted) -> None:
        log.info("track.started", session=owned.session, track=name)
        self._writes.write(
            owned.session,
            lambda record: set_track_flowing(record, name, flowing=True, sending_pt=event.payload_type),
        )

    # the record

    def _changed(self, owned: _Owned, record: SessionRecord | None) -> None:
        if self._sessions.get(owned.session) is not owned:
            return
        if record is None or record.transport_state == "closed":
            self._transports.close(owned.session)
            return
        if _transport_of(record) != _transport_of(owned.record):
            self._transports.restart(record)
        self._match(owned, record)
        self._transports.media_told()

    def _match(self, owned: _Owned, record: SessionRecord) -> None:
        before, owned.record = owned.record, record
        self._match_published(owned, record)
        self._match_pulled(owned, before)

    def _match_published(self, owned: _Owned, record: SessionRecord) -> None:
        wanted = {mline.mid: (track.name, ingress_of(mline)) for track, mline in record.incoming()}
        # A section that pauses keeps its track: it sends again, or ends like any that is silent for long.
        open_tracks = {(track.mid, track.name) for track in record.publications if track.state == "open"}
        for mid, held in list(owned.published.items()):
            if (mid, held.name) not in open_tracks:
                self._unpublish(owned, mid)
        for mid, (name, ingress) in wanted.items():
            held = owned.published.get(mid)
            try:
                if held is None:
                    self._publish(owned, name, ingress)
                elif held.ingress != ingress:
                    self._media.update_track(held.track, ingress)
                    held.ingress = ingress
                    self._refresh_pulls(record, name)
            except MediaError as error:  # the others go on; the record's next change tries again
                _unmatched.labels("track").inc()
                log.warning("track.failed", session=owned.session, track=name, error=str(error))

    def _publish(self, owned: _Owned, name: TrackName, ingress: IngressTrack) -> None:
        track = self._media.add_track(owned.peer, ingress)
        owned.published[ingress.mid] = _Published(name, track, ingress)
        self._tracks[track] = (owned, name)
        key = (owned.session, name)
        self._sources[key] = track
        _tracks.set(len(self._tracks))
        for subscriber, mid in self._pulls.get(key, ()):
            held = self._sessions[subscriber].pulled[mid]
            if held.described.kind is ingress.kind:  # else it is of a track of the same name before
                self._feed(held, track)

    def _unpublish(self, owned: _Owned, mid: Mid) -> None:
        held = owned.published.pop(mid)
        key = (owned.session, held.name)
        del self._tracks[held.track]
        if self._sources.get(key) == held.track:
            del self._sources[key]
        self._media.remove_track(held.track)
        _tracks.set(len(self._tracks))
        for subscriber, pulled_mid in self._pulls.get(key, ()):
            self._sessions[subscriber].pulled[pulled_mid].track = None
            self._writes.write(subscriber, lambda record: end_subscriptions(record, [key]))

    def _refresh_pulls(self, record: SessionRecord, name: TrackName) -> None:
        key = (record.id, name)
        published = find_published(record, name)
        if isinstance(published, ItemError):
            return  # its end is told by _unpublish
        for subscriber in {subscriber for subscriber, _ in self._pulls.get(key, ())}:
            self._writes.write(subscriber, lambda other: refresh_sources(other, {key: published}))

    def _match_pulled(self, owned: _Owned, before: SessionRecord) -> None:
        record = owned.record
        wanted = {pull.mid: pull for pull, _ in record.outgoing()}
        for mid in [mid for mid, held in owned.pulled.items() if not _is_same_stream(wanted.get(mid), held)]:
            self._stop_pull(owned, mid)
        for mid, subscription in wanted.items():
            try:
                self._match_pull(owned, subscription, before)
            except MediaError as error:
                _unmatched.labels("pull").inc()
                log.warning("pull.failed", session=owned.session, mid=mid, error=str(error))

    def _match_pull(self, owned: _Owned, subscription: Subscription, before: SessionRecord) -> None:
        described = egress_of(subscription, owned.record)
        held = owned.pulled.get(subscription.mid)
        if held is None:
            self._pull(owned, subscription, described, before)
            return
        if held.described != described:
            self._media.update_egress(held.egress, described)
            held.described = described
        if held.subscription != subscription:
            self._repull(owned, held, subscription)

    def _pull(
        self, owned: _Owned, subscription: Subscription, described: Egress, before: SessionRecord
    ) -> None:
        key = (subscription.publisher, subscription.track)
        track = self._sources.get(key)
        egress = self._media.add_egress(
            owned.peer, described, track, None if track is None else routes_of(subscription)
        )
        self._media.select_layer(egress, wish_of(subscription))
        pulled = owned.pulled[subscription.mid] = _Pulled(egress, described, subscription, track)
        self._pulls.setdefault(key, set()).add((owned.session, subscription.mid))
        _pulls.inc()
        if not owned.connected:
            return  # `connected` starts it
        earlier = before.mline(subscription.mid)
        if earlier is None or not earlier.sends:
            # The client offered and has our answer on its way. What comes before it is applied has an
            # SSRC that nothing announced, which Firefox never forgives.
            loop = asyncio.get_running_loop()
            pulled.starting = loop.call_later(ANSWER_WAIT_S, self._start_pull, pulled)
        else:
            self._media.start_egress(egress)

    def _start_pull(self, pulled: _Pulled) -> None:
        pulled.starting = None
        self._media.start_egress(pulled.egress)
        self._transports.media_told()

    def _repull(self, owned: _Owned, held: _Pulled, subscription: Subscription) -> None:
        before, held.subscription = held.subscription, subscription
        old_key, key = (before.publisher, before.track), (subscription.publisher, subscription.track)
        if old_key != key:
            self._forget_pull(old_key, owned.session, subscription.mid)
            self._pulls.setdefault(key, set()).add((owned.session, subscription.mid))
        if old_key != key or routes_of(before) != routes_of(subscription):
            self._feed(held, self._sources.get(key))
        if wish_of(before) != wish_of(subscription):
            self._media.select_layer(held.egress, wish_of(subscription))

    def _feed(self, held: _Pulled, track: TrackId | None) -> None:
        held.track = track
        self._media.switch_egress(held.egress, track, None if track is None else routes_of(held.subscription))

    def _stop_pull(self, owned: _Owned, mid: Mid) -> None:
        held = owned.pulled.pop(mid)
        if held.starting is not None:
            held.starting.cancel()
        self._forget_pull((held.subscription.publisher, held.subscription.track), owned.session, mid)
        self._media.remove_egress(held.egress)
        _pulls.dec()

    def _forget_pull(self, key: TrackKey, session: SessionId, mid: Mid) -> None:
        pulls = self._pulls[key]
        pulls.discard((session, mid))
        if not pulls:
            del self._pulls[key]


def _transport_of(record: SessionRecord) -> tuple[int, int, ClientTransport | None]:
    """What of a record its transport depends on."""
    return record.generation, record.association, record.client


def _is_same_stream(wanted: Subscription | None, held: _Pulled) -> bool:
    """Whether the subscription goes on in the stream that the client knows by its SSRC."""
    return (
        wanted is not None and wanted.ssrc == held.subscription.ssrc and wanted.kind == held.subscription.kind
    )
