"""The Python face of the packet path; no one else calls the engine.

The engine moves packets, this decides: which peers, tracks and subscriptions there are, when a
publisher is asked for a keyframe, which simulcast layer goes on. Commands in, events out:

    socket readable -> `on_readable` -> datagrams for the transport layer
    a timer due     -> `handle_timer`
    after either    -> `take_events`

Times are seconds of the monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfu.base.ids import Rid, Ssrc

if TYPE_CHECKING:
    import socket

    from sfu.media.events import ControlDatagram, EgressId, MediaEvent, PeerId, TrackId
    from sfu.media.keys import SrtpKeys
    from sfu.media.tracks import Egress, IngressTrack, Routes
    from sfu.net.address import Path


class MediaError(Exception):
    """Base of what goes wrong here."""


class UnknownHandle(MediaError):
    """A peer, track or egress that does not exist, or no longer."""


class LimitReached(MediaError):
    """A table is full; the text names it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the engine's tables, and its times."""

    peers: int = 20_000
    paths: int = 80_000
    tracks: int = 50_000
    egress: int = 200_000
    sources: int = 200_000
    ssrcs_per_peer: int = 64
    """Unbound SSRCs remembered per peer; the least recently used goes first."""
    paths_per_peer: int = 8
    control_per_read: int = 128
    """STUN and DTLS datagrams handed up per call of `on_readable`; the rest is dropped and counted."""
    stall_s: float = 30.0
    keyframe_gap_s: float = 0.5
    keyframe_tries: int = 6
    keyframe_wait_s: float = 3.0
    """How long a subscription waits for a keyframe that we recognise before it takes any packet."""


@dataclass(frozen=True, slots=True)
class LayerStats:
    """What arrived on one SSRC of a track."""

    rid: Rid | None
    ssrc: Ssrc
    packets: int
    bytes: int
    lost: int
    jitter_s: float
    keyframes: int
    rtx_packets: int
    bitrate_bps: int
    last_packet_at: float


@dataclass(frozen=True, slots=True)
class TrackStats:
    """A track as it arrives."""

    layers: tuple[LayerStats, ...]
    plis_sent: int
    last_packet_at: float | None


@dataclass(frozen=True, slots=True)
class EgressStats:
    """A subscription as it leaves, and what its receiver reports."""

    packets: int
    bytes: int
    lost: int
    fraction_lost: float
    jitter_s: float
    rtt_s: float | None
    nacks: int
    plis: int
    held: bool
    flowing: bool
    """Whether packets of its present source are passed on: not held, not waiting for a keyframe."""


@dataclass(frozen=True, slots=True)
class PeerStats:
    """A peer's transport as the packet path sees it."""

    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int
    refused: int
    """Packets that failed authentication or replay protection."""
    rtt_s: float | None


class MediaControl:
    """Peers, tracks and subscriptions on one UDP socket.

    The socket is non-blocking, from `sfu.net.udp.open_udp`, and stays the caller's. Every method that
    takes a handle raises UnknownHandle for one that is gone; every `add_` and `allow_` raises
    LimitReached when its table is full.
    """

    def __init__(self, sock: socket.socket, limits: Limits | None = None) -> None: ...

    # datagrams and time

    def fileno(self) -> int:
        """The socket, for the loop's `add_reader`."""
        ...

    def on_readable(self, now: float) -> list[ControlDatagram]:
        """Forward all media that has arrived; return what is not media. Call when the socket is readable."""
        ...

    def send(self, path: Path, data: bytes) -> bool:
        """Send a STUN or DTLS datagram at once; False when the kernel did not take it."""
        ...

    def timer_at(self) -> float | None:
        """The moment at which `handle_timer` has work, or None."""
        ...

    def handle_timer(self, now: float) -> None:
        """Send the reports and requests that are due, and look after stalls."""
        ...

    def take_events(self) -> list[MediaEvent]:
        """Events since the last call; ask after `on_readable` and after `handle_timer`."""
        ...

    # peers and their paths

    def expect_dtls(self, path: Path, now: float) -> None:
        """Hand up DTLS from `path`, on which a check of a session without a peer has just passed.

        Lasts 30 s. Bounded: the oldest expected path goes when there are too many.
        """
        ...

    def add_peer(self) -> PeerId:
        """A peer without paths and keys: nothing comes in or goes out yet."""
        ...

    def remove_peer(self, peer: PeerId) -> None:
        """Remove a peer, its paths, tracks and subscriptions; others' subscriptions to its tracks go silent."""
        ...

    def set_keys(self, peer: PeerId, keys: SrtpKeys) -> None:
        """Start SRTP afresh under `keys`: replay windows and roll-over counters begin anew."""
        ...

    def allow_path(self, peer: PeerId, path: Path) -> None:
        """Take DTLS and media from `path` as this peer's; the path moves if it was another's.

        The first path of a peer is selected. At most `paths_per_peer`: the oldest that is not
        selected goes.
        """
        ...

    def select_path(self, peer: PeerId, path: Path) -> None:
        """Send media on `path`, which is allowed if it was not."""
        ...

    def forget_path(self, path: Path) -> None:
        """Take nothing more from `path`, allowed or expected. Safe for unknown paths."""
        ...

    # tracks that come in

    def add_track(self, peer: PeerId, track: IngressTrack) -> TrackId:
        """Take in what a client sends in one m-section."""
        ...

    def update_track(self, track: TrackId, value: IngressTrack) -> None:
        """The section was negotiated anew: codecs, SSRC hints, RIDs, extension ids. Its kind stays."""
        ...

    def remove_track(self, track: TrackId) -> None:
        """Drop its packets from now on; its subscriptions stay, silent, until switched or removed."""
        ...

    # subscriptions that go out

    def add_egress(
        self, peer: PeerId, egress: Egress, track: TrackId | None, routes: Routes | None
    ) -> EgressId:
        """Make a subscription of `track` (or of none yet). It is held until `start_egress`."""
        ...

    def start_egress(self, egress: EgressId) -> None:
        """Send from now on: the answer is applied. Video starts at a keyframe, which is asked for now."""
        ...

    def pause_egress(self, egress: EgressId) -> None:
        """Send nothing until `start_egress`; the subscriber's numbering goes on without a gap."""
        ...

    def update_egress(self, egress: EgressId, value: Egress) -> None:
        """The section was negotiated anew: mid and its extension id. SSRC and kind stay."""
        ...

    def switch_egress(self, egress: EgressId, track: TrackId | None, routes: Routes | None) -> None:
        """Go over to another track, or to none; sequence numbers and timestamps go on.

        The old track goes on until the new one's keyframe, or 3 s at most. The same track with other
        `routes` changes the maps alone.
        """
        ...

    def select_layer(self, egress: EgressId, rid: Rid | None) -> None:
        """The simulcast layer wanted; None, as at the start, for the best that flows."""
        ...

    def remove_egress(self, egress: EgressId) -> None:
        """End a subscription."""
        ...

    # what is going on

    def last_packet_at(self, track: TrackId) -> float | None:
        """When the last authenticated packet of a track arrived."""
        ...

    def track_stats(self, track: TrackId) -> TrackStats: ...
    def egress_stats(self, egress: EgressId) -> EgressStats: ...
    def peer_stats(self, peer: PeerId) -> PeerStats: ...
    def counters(self) -> dict[str, int]:
        """Node-wide totals by name; `drop_` names a reason."""
        ...
