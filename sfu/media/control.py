"""The Python face of the packet path; no one else calls the engine.

The engine moves packets, this decides: which peers, tracks and subscriptions there are, when a
publisher is asked for a keyframe, which simulcast layer goes on. Commands in, events out:

    socket readable -> `on_readable` -> datagrams for the transport layer
    a timer due     -> `handle_timer`
    after either    -> `take_events`

Times are seconds of the monotonic clock.
"""

from __future__ import annotations

import functools
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

from sfu.base.ids import PayloadType
from sfu.media.engine import Engine, StaleHandle, TableFull
from sfu.media.events import (
    ControlDatagram,
    DatagramKind,
    EgressId,
    KeyframeOverdue,
    MediaEvent,
    PeerId,
    TrackId,
    TrackStalled,
    TrackStarted,
)
from sfu.media.feedback import RembLimit
from sfu.media.keyframes import KeyframeEvent, KeyframeRequests, Overdue
from sfu.media.layers import LayerRate, LayerWish, best_layer, choose_layer
from sfu.media.limits import Limits
from sfu.media.metrics import ExportedCounters
from sfu.media.srtp import SrtpPair, cipher_addresses, function_addresses, rtcp_trailer, rtp_tag
from sfu.media.stats import EgressStats, PeerStats, TrackStats, egress_stats, peer_stats, track_stats
from sfu.media.tracks import Kind

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from sfu.media.tracks import Egress, IngressTrack, Routes
    from sfu.net.address import Path
    from sfu.wire.srtp import SrtpKeys

P = ParamSpec("P")
R = TypeVar("R")


class MediaError(Exception):
    """Base of what goes wrong here."""


class UnknownHandle(MediaError):
    """A peer, track or egress that does not exist, or no longer."""


class LimitReached(MediaError):
    """A table is full; the text names it."""


_SECOND_S = 1.0
_KINDS = {1: DatagramKind.STUN, 2: DatagramKind.DTLS}
_CODEC_NUMBERS = {"vp8": 1, "vp9": 2, "h264": 3, "h265": 4, "av1": 5, "red": 6}  # enum codec in c/codec.h
_CODEC_OTHER, _CODEC_RTX = 0, 7
_NOTHING = 255  # no payload type
_LAYERS = 8


class _Event:
    """Numbers of the engine's events; enum Event in engine.pxd."""

    TRACK = 1
    LAYER = 2
    WANTED = 3
    KEYFRAME = 4


def _translated(
    method: Callable[Concatenate[MediaControl, P], R],
) -> Callable[Concatenate[MediaControl, P], R]:
    """The engine's exceptions as ours."""

    @functools.wraps(method)
    def call(self: MediaControl, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except StaleHandle as error:
            raise UnknownHandle(str(error)) from error
        except TableFull as error:
            raise LimitReached(str(error)) from error
        except ValueError as error:
            raise MediaError(str(error)) from error

    return call


@dataclass(slots=True)
class _Remb:
    limit: RembLimit = field(default_factory=RembLimit)
    at: float = float("-inf")
    packets: int = 0
    bytes: int = 0
    lost: int = 0


@dataclass(slots=True)
class _Peer:
    srtp: SrtpPair | None = None
    """Kept here because the engine holds bare addresses of it."""
    tracks: set[TrackId] = field(default_factory=set[TrackId])
    egress: set[EgressId] = field(default_factory=set[EgressId])
    extensions: tuple[int, int, int, int] = (0, 0, 0, 0)
    """mid, rid, repaired-rid, transport-cc; 0 is not negotiated."""
    level: int = 0
    """ssrc-audio-level, likewise."""
    transport_cc: bool = False
    remb: _Remb | None = None
    retired: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    """Next SRTP index and last timestamp of SSRCs whose subscriptions ended."""


@dataclass(slots=True)
class _Track:
    peer: PeerId
    value: IngressTrack
    egress: set[EgressId] = field(default_factory=set[EgressId])
    best: int | None = None
    """The layer for those who left the choice to us."""
    flowing: frozenset[int] = frozenset()
    """Layers that are being sent."""


@dataclass(slots=True)
class _Subscription:
    peer: PeerId
    ssrc: int
    rtx_ssrc: int | None
    kind: Kind
    held: bool = True
    track: TrackId | None = None
    wish: LayerWish = field(default_factory=LayerWish)


class MediaControl:
    """Peers, tracks and subscriptions on one UDP socket.

    The socket is non-blocking, from `sfu.net.udp.open_udp`, and stays the caller's. Every method that
    takes a handle raises UnknownHandle for one that is gone; every `add_`, `allow_` and `select_path`
    raises LimitReached when its table is full. After any call `timer_at` may have changed.
    """

    def __init__(self, sock: socket.socket, limits: Limits | None = None) -> None:
        self._sock = sock
        self._limits = limits = limits or Limits()
        self._engine = Engine(
            sock.fileno(),
            sock.family,
            seed=secrets.token_bytes(8),
            functions=function_addresses(),
            ciphers=cipher_addresses(),
            peers_max=limits.peers,
            paths_max=limits.paths,
            tracks_max=limits.tracks,
            egress_max=limits.egress,
            sources_max=limits.sources,
            ssrcs_per_peer=limits.ssrcs_per_peer,
            paths_per_peer=limits.paths_per_peer,
            control_per_read=limits.control_per_read,
            send_queue=limits.send_queue,
            keyframe_wait_us=_us(limits.keyframe_wait_s),
            cache_size=limits.cache,
            cache_audio_size=limits.cache_audio,
            cache_video_size=limits.cache_video,
            cache_audio_us=_us(limits.cache_audio_s),
            cache_video_us=_us(limits.cache_video_s),
            start_us=_us(limits.start_s),
            missing_max=limits.missing,
            waiting_max=limits.waiting,
            slice_us=_us(limits.slice_s),
            overload_us=_us(limits.overload_s),
        )
        self._now = 0.0
        self._tick_at: float | None = None
        self._second_at = 0.0
        self._events: list[MediaEvent] = []
        self._peers: dict[PeerId, _Peer] = {}
        self._tracks: dict[TrackId, _Track] = {}
        self._egress: dict[EgressId, _Subscription] = {}
        self._requests: dict[tuple[TrackId, int], KeyframeRequests] = {}
        self._wanted: set[tuple[TrackId, int]] = set()  # those of `_requests` that have a timer
        self._exported = ExportedCounters()

    # datagrams and time

    def fileno(self) -> int:
        """The socket, for the loop's `add_reader`."""
        return self._sock.fileno()

    def on_readable(self, now: float) -> list[ControlDatagram]:
        """Forward all media that has arrived; return what is not media. Call when the socket is readable."""
        self._now = now
        datagrams = [
            ControlDatagram(cast("Path", path), data, _KINDS[kind], PeerId(peer) if peer else None)
            for path, data, kind, peer in self._engine.on_readable(_us(now))
        ]
        self._take_engine_events(now)
        return datagrams

    def send(self, path: Path, data: bytes) -> bool:
        """Send a STUN or DTLS datagram at once; False when the kernel refused it."""
        return self._engine.send(path, data)

    @property
    def blocked(self) -> bool:
        """Whether the socket is full: call `on_writable` when it no longer is. Ask after any call."""
        return self._engine.blocked()

    def on_writable(self) -> None:
        """The socket has room again: send what waited, and go on forwarding."""
        self._engine.on_writable()
        self._engine.forward(_us(self._now))
        self._take_engine_events(self._now)

    def timer_at(self) -> float:
        """The moment at which `handle_timer` has work: once a second at least, for the counters."""
        if self._engine.behind():
            return self._now  # at once, but after what else the loop has to do
        moments = [self._second_at] if self._tick_at is None else [self._tick_at, self._second_at]
        moments += [at for key in self._wanted if (at := self._requests[key].timer_at()) is not None]
        if repair_us := self._engine.repair_at():
            moments.append(repair_us / 1e6)
        return min(moments)

    def handle_timer(self, now: float) -> None:
        """Send the reports and requests that are due, and look after stalls. Too early does nothing."""
        self._now = now
        if self._tick_at is None or now >= self._tick_at:
            next_us = self._engine.tick(_us(now))
            self._tick_at = next_us / 1e6 if next_us else None
        self._engine.forward(_us(now))
        self._engine.repair(_us(now))
        for track, layer in list(self._wanted):
            self._obey(track, layer, self._requests[track, layer].handle_timer(now))
        if now >= self._second_at:
            self._second_at = now + _SECOND_S
            self._each_second(now)
        self._take_engine_events(now)

    def take_events(self) -> list[MediaEvent]:
        """Events since the last call; ask after `on_readable` and after `handle_timer`."""
        events, self._events = self._events, []
        return events

    # peers and their paths

    @_translated
    def expect_dtls(self, path: Path, now: float) -> None:
        """Hand up DTLS from `path`, on which a check of a session without a peer has just passed.

        Lasts 30 s. Bounded: the oldest expected path goes when there are too many.
        """
        self._engine.expect_path(path, _us(now))

    @_translated
    def add_peer(self) -> PeerId:
        """A peer without paths and keys: nothing comes in or goes out yet."""
        peer = PeerId(self._engine.add_peer(secrets.token_hex(8).encode(), _fresh_ssrc()))
        self._peers[peer] = _Peer()
        return peer

    @_translated
    def remove_peer(self, peer: PeerId) -> None:
        """Remove a peer, its paths, tracks and subscriptions. Subscriptions to its tracks go silent."""
        self._engine.remove_peer(peer)
        state = self._peers.pop(peer)
        for egress in state.egress:
            self._forget_egress(egress)
        for track in state.tracks:
            self._forget_track(track)

    @_translated
    def set_keys(self, peer: PeerId, keys: SrtpKeys) -> None:
        """Start SRTP afresh under `keys`: replay windows and roll-over counters begin anew.

        The keys in force given once more change nothing, since no packet index may be used twice.
        """
        state = self._state_of(peer)
        if state.srtp is not None and state.srtp.keys == keys:
            return
        pair = SrtpPair(keys)
        self._engine.set_srtp(
            peer,
            pair.inbound,
            pair.outbound,
            rtp_tag(keys.profile),
            rtcp_trailer(keys.profile),
            pair.sealing,
        )
        state.srtp = pair
        state.retired.clear()
        self._tick_at = self._tick_at or self._now

    @_translated
    def allow_path(self, peer: PeerId, path: Path) -> bool:
        """Take DTLS and media from `path` as this peer's; the path moves if it was another's.

        False, and nothing has changed, if that other one sent an authenticated packet on it in the
        last 2 s. The first path of a peer is selected. At most `paths_per_peer`: the oldest that is
        not selected goes.
        """
        return self._engine.allow_path(peer, path, _us(self._now))

    @_translated
    def take_path(self, peer: PeerId, path: Path) -> None:
        """As `allow_path`, whoever is heard there: the peer has proved that it is at the far end."""
        self._engine.take_path(peer, path)

    @_translated
    def select_path(self, peer: PeerId, path: Path) -> bool:
        """Send media on `path`, which is allowed if it was not; False as of `allow_path`."""
        return self._engine.select_path(peer, path, _us(self._now))

    def forget_path(self, path: Path) -> None:
        """Take nothing more from `path`, allowed or expected. Safe for unknown paths."""
        self._engine.forget_path(path)

    # tracks that come in

    @_translated
    def add_track(self, peer: PeerId, track: IngressTrack) -> TrackId:
        """Take in what a client sends in one m-section."""
        handle = TrackId(
            self._engine.add_track(
                peer,
                track.mid.encode(),
                track.kind is Kind.VIDEO,
                _codecs(track),
                _ssrcs(track),
                [rid.encode() for rid in track.rids],
                track.feedback.nack,
            )
        )
        self._state_of(peer).tracks.add(handle)
        self._tracks[handle] = _Track(peer, track)
        self._set_extensions(peer, track)
        return handle

    @_translated
    def update_track(self, track: TrackId, value: IngressTrack) -> None:
        """The section was negotiated anew: codecs, SSRC hints, RIDs, extension ids. Its kind stays."""
        self._engine.update_track(
            track,
            value.mid.encode(),
            _codecs(value),
            _ssrcs(value),
            [rid.encode() for rid in value.rids],
            value.feedback.nack,
        )
        state = self._tracks[track]
        if state.value.rids != value.rids:
            self._forget_requests(track)  # the layers have other numbers; who still waits asks anew
        state.value = value
        self._set_extensions(state.peer, value)

    @_translated
    def remove_track(self, track: TrackId) -> None:
        """Drop its packets from now on; its subscriptions stay, silent, until switched or removed."""
        self._engine.remove_track(track)
        self._peers[self._tracks[track].peer].tracks.discard(track)
        self._forget_track(track)

    # subscriptions that go out

    @_translated
    def add_egress(
        self, peer: PeerId, egress: Egress, track: TrackId | None, routes: Routes | None
    ) -> EgressId:
        """Make a subscription of `track` (or of none yet). It is held until `start_egress`.

        An SSRC that the peer had before goes on where it ended: under AEAD no number may come twice.
        """
        state = self._state_of(peer)
        if egress.ssrc not in state.retired and len(state.retired) >= self._limits.retired_per_peer:
            raise LimitReached(f"{self._limits.retired_per_peer} SSRCs that one transport has sent")
        fresh = secrets.randbelow(1 << 15), secrets.randbits(32)
        index, timestamp = state.retired.get(egress.ssrc, fresh)
        rtx_index, _ = state.retired.get(egress.rtx_ssrc or 0, fresh)
        handle = EgressId(
            self._engine.add_egress(
                peer,
                egress.mid.encode(),
                egress.mid_extension_id or 0,
                egress.extmap_allow_mixed,
                egress.ssrc,
                egress.rtx_ssrc or 0,
                egress.clock_rate,
                egress.cname.encode(),
                egress.kind is Kind.VIDEO,
                index,
                timestamp,
                rtx_index,
            )
        )
        state.egress.add(handle)
        self._egress[handle] = _Subscription(peer, egress.ssrc, egress.rtx_ssrc, egress.kind)
        try:
            self.switch_egress(handle, track, routes)
        except BaseException:
            self.remove_egress(handle)
            raise
        return handle

    @_translated
    def start_egress(self, egress: EgressId) -> None:
        """Send from now on: the answer is applied.

        Video starts at a keyframe: one that is still in the cache with all that followed, else one that
        is asked for now.
        """
        cached = self._engine.start_egress(egress, _us(self._now))
        self._egress[egress].held = False
        if not cached:
            self._ask_for(egress)

    @_translated
    def pause_egress(self, egress: EgressId) -> None:
        """Send nothing until `start_egress`; the subscriber's numbering goes on without a gap."""
        self._engine.hold_egress(egress)
        self._egress[egress].held = True

    @_translated
    def update_egress(self, egress: EgressId, value: Egress) -> None:
        """The section was negotiated anew: mid and its extension id. SSRC and kind stay."""
        self._engine.update_egress(
            egress, value.mid.encode(), value.mid_extension_id or 0, value.extmap_allow_mixed
        )

    @_translated
    def switch_egress(self, egress: EgressId, track: TrackId | None, routes: Routes | None) -> None:
        """Go over to another track, or to none; sequence numbers and timestamps go on.

        The old track goes on until the new one's keyframe, or 3 s at most. The same track with other
        `routes` changes the maps alone.
        """
        if (track is None) != (routes is None):
            raise MediaError("a subscription has a track and routes, or neither")
        if track is None or routes is None:
            self._engine.route_egress(egress, 0, (), (), ())
        else:
            never = self._private_extensions(track)
            self._engine.route_egress(
                egress,
                track,
                list(routes.payload_types.items()),
                [(ours, theirs) for ours, theirs in routes.extensions.items() if ours not in never],
                list(routes.rtx_types.items()),
            )
        subscription = self._egress[egress]
        before, subscription.track = subscription.track, track
        if before != track:
            if before is not None and before in self._tracks:
                self._tracks[before].egress.discard(egress)
            if track is not None:
                self._tracks[track].egress.add(egress)
                self._choose_layer(egress)

    @_translated
    def select_layer(self, egress: EgressId, wish: LayerWish) -> None:
        """The simulcast layer that its subscriber wants, of this track and of those after it.

        What is forwarded goes on until the wanted layer's keyframe, which is asked for now.
        """
        self._subscription_of(egress).wish = wish
        self._choose_layer(egress)

    @_translated
    def remove_egress(self, egress: EgressId) -> None:
        """End a subscription."""
        ended = self._engine.egress_stats(egress)
        self._engine.remove_egress(egress)
        subscription = self._egress[egress]
        state = self._peers[subscription.peer]
        state.egress.discard(egress)
        if ended["packets"]:
            state.retired[subscription.ssrc] = (ended["next_index"], ended["timestamp"])
        if ended["resent"] and subscription.rtx_ssrc is not None:
            state.retired[subscription.rtx_ssrc] = (ended["next_rtx_index"], 0)
        self._forget_egress(egress)

    # what is going on

    @_translated
    def last_packet_at(self, track: TrackId) -> float | None:
        """When the last authenticated packet of a track arrived."""
        return self._engine.track_seen(track)[0] / 1e6 or None

    @_translated
    def track_stats(self, track: TrackId, now: float | None = None) -> TrackStats:
        """A track as it arrives; ages are as of `now`, or else of the last call that told the time."""
        last_us, requests = self._engine.track_seen(track)
        rids = self._tracks[track].value.rids
        return track_stats(
            self._engine.track_stats(track), rids, last_us, requests, self._now if now is None else now
        )

    @_translated
    def egress_stats(self, egress: EgressId) -> EgressStats:
        """A subscription as it leaves."""
        numbers = self._engine.egress_stats(egress)
        track = self._tracks.get(TrackId(numbers["current_track"]))  # while it switches, still the old one
        return egress_stats(numbers, () if track is None else track.value.rids)

    @_translated
    def peer_stats(self, peer: PeerId) -> PeerStats:
        """A peer's transport as the packet path sees it."""
        return peer_stats(self._engine.peer_stats(peer))

    def counters(self) -> dict[str, int]:
        """Node-wide totals by name; `drop_` names a reason."""
        return self._engine.counters()

    def live(self) -> dict[str, int]:
        """How many of each thing there are, and send slots taken (0 between calls)."""
        return self._engine.live()

    # inside

    def _state_of(self, peer: PeerId) -> _Peer:
        state = self._peers.get(peer)
        if state is None:
            raise UnknownHandle(f"peer {peer:#x}")
        return state

    def _subscription_of(self, egress: EgressId) -> _Subscription:
        subscription = self._egress.get(egress)
        if subscription is None:
            raise UnknownHandle(f"egress {egress:#x}")
        return subscription

    def _set_extensions(self, peer: PeerId, track: IngressTrack) -> None:
        """Ids and feedback are the transport's, told with each track: once given, an id stays."""
        state, ids, feedback = self._peers[peer], track.extensions, track.feedback
        known = state.extensions
        state.extensions = (
            ids.mid or known[0],
            ids.rid or known[1],
            ids.repaired_rid or known[2],
            ids.transport_cc or known[3],
        )
        state.level = ids.audio_level or state.level
        state.transport_cc = state.transport_cc or feedback.transport_cc
        self._engine.set_extensions(peer, *state.extensions, state.level, state.transport_cc)
        if state.transport_cc and state.extensions[3]:
            state.remb = None
        elif feedback.remb and state.remb is None:
            state.remb = _Remb()

    def _private_extensions(self, track: TrackId) -> frozenset[int]:
        """Ids of the publisher that name its own sections, layers and numbers: never forwarded (W38)."""
        known = self._tracks.get(track)
        if known is None:
            raise UnknownHandle(f"track {track:#x}")
        return frozenset(self._peers[known.peer].extensions)

    def _forget_track(self, track: TrackId) -> None:
        for egress in self._tracks.pop(track).egress:
            self._egress[egress].track = None
        self._forget_requests(track)

    def _forget_requests(self, track: TrackId) -> None:
        for layer in range(_LAYERS):
            self._requests.pop((track, layer), None)
            self._wanted.discard((track, layer))

    def _forget_egress(self, egress: EgressId) -> None:
        subscription = self._egress.pop(egress)
        if subscription.track is not None and subscription.track in self._tracks:
            self._tracks[subscription.track].egress.discard(egress)

    def _take_engine_events(self, now: float) -> None:
        looked_at: set[TrackId] = set()  # a publisher can make an event with every packet
        for kind, handle, value in self._engine.take_events():
            track = TrackId(handle)
            if track not in self._tracks:
                continue  # removed since
            match kind:
                case _Event.TRACK:
                    self._events.append(TrackStarted(track, PayloadType(value)))
                case _Event.LAYER:
                    if track not in looked_at:
                        looked_at.add(track)
                        self._look_at_layers(track)
                        self._choose_layers(track)
                case _Event.WANTED:
                    self._ask(track, value, now)
                case _:
                    if (track, value) in self._requests:
                        self._requests[track, value].seen()
                        self._wanted.discard((track, value))

    def _ask(self, track: TrackId, layer: int, now: float) -> None:
        requests = self._requests.get((track, layer))
        if requests is None:
            requests = KeyframeRequests(gap_s=self._limits.keyframe_gap_s, tries=self._limits.keyframe_tries)
            self._requests[track, layer] = requests
        self._wanted.add((track, layer))
        self._obey(track, layer, requests.ask(now))

    def _ask_for(self, egress: EgressId) -> None:
        """Ask for a keyframe of what a video subscription is to get."""
        subscription = self._egress[egress]
        if subscription.kind is Kind.VIDEO and not subscription.held and subscription.track is not None:
            layer = self._engine.egress_stats(egress)["layer"]
            if layer in self._tracks[subscription.track].flowing:  # else its first packet will ask
                self._ask(subscription.track, layer, self._now)

    def _obey(self, track: TrackId, layer: int, events: Iterable[KeyframeEvent]) -> None:
        feedback = self._tracks[track].value.feedback
        for event in events:
            if isinstance(event, Overdue):
                self._wanted.discard((track, layer))
                self._events.append(KeyframeOverdue(track, event.waited_s))
            elif feedback.pli or feedback.fir:
                self._engine.request_keyframe(track, layer, not feedback.pli)

    def _choose_layer(self, egress: EgressId) -> None:
        """Point a subscription at the layer that it is to get, and ask for the keyframe that it needs."""
        subscription = self._egress[egress]
        if subscription.track is None:
            return
        state = self._tracks[subscription.track]
        layer = 0
        if _is_layered(state.value):
            layer = choose_layer(subscription.wish, state.value.rids, state.flowing, state.best)
        if layer is not None and self._engine.select_layer(egress, layer):
            self._ask_for(egress)

    def _look_at_layers(self, track: TrackId) -> bool:
        """Note which layers are being sent and which is best; whether either is another than before."""
        state = self._tracks[track]
        before = state.best, state.flowing
        layers = [
            LayerRate(layer["layer"], layer["bitrate_bps"], bool(layer["flowing"]))
            for layer in self._engine.track_stats(track)
        ]
        state.best = best_layer(layers, state.best)
        state.flowing = frozenset(layer.layer for layer in layers if layer.flowing)
        return before != (state.best, state.flowing)

    def _choose_layers(self, track: TrackId) -> None:
        """Choose anew for all who take the track."""
        for egress in self._tracks[track].egress:
            self._choose_layer(egress)

    def _each_second(self, now: float) -> None:
        for handle, silent_us in self._engine.take_stalled(_us(now), _us(self._limits.stall_s)):
            self._events.append(TrackStalled(TrackId(handle), silent_us / 1e6))
        for track, state in self._tracks.items():
            if _is_layered(state.value) and self._look_at_layers(track):
                self._choose_layers(track)
        for peer, state in self._peers.items():
            if state.remb is not None and state.srtp is not None:
                self._limit_rate(peer, state.remb, now)
        self._exported.export(self._engine.counters(), self._engine.live(), self._engine.take_holds())

    def _limit_rate(self, peer: PeerId, remb: _Remb, now: float) -> None:
        stats = self._engine.peer_stats(peer)
        received, lost = stats["packets_in"] - remb.packets, stats["lost"] - remb.lost
        elapsed = now - remb.at
        if received > 0 and elapsed < 2 * _SECOND_S:
            rate = (stats["bytes_in"] - remb.bytes) * 8 / elapsed
            self._engine.send_remb(peer, remb.limit.step(rate, max(lost, 0), received + max(lost, 0)))
        remb.at, remb.packets, remb.lost = now, stats["packets_in"], stats["lost"]
        remb.bytes = stats["bytes_in"]


def _us(seconds: float) -> int:
    return round(seconds * 1e6)  # cut off, a timer would come up just before its moment, again and again


def _fresh_ssrc() -> int:
    return secrets.randbelow(0xFFFFFFFE) + 1


def _codecs(track: IngressTrack) -> list[tuple[int, int, int, int]]:
    out: list[tuple[int, int, int, int]] = []
    for pt, codec in track.codecs.items():
        out.append((pt, _CODEC_NUMBERS.get(codec.name.lower(), _CODEC_OTHER), codec.clock_rate, _NOTHING))
        if codec.rtx is not None:
            out.append((codec.rtx, _CODEC_RTX, codec.clock_rate, pt))
    return out


def _is_layered(track: IngressTrack) -> bool:
    return bool(track.rids) or len(_ssrcs(track)) > 1


def _ssrcs(track: IngressTrack) -> list[tuple[int, int]]:
    """Media and RTX SSRC of each layer; RTX alone is no layer."""
    rtx = set(track.rtx_ssrcs.values())
    return [(ssrc, track.rtx_ssrcs.get(ssrc, 0)) for ssrc in track.ssrcs if ssrc not in rtx]
