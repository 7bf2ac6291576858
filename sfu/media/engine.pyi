from collections.abc import Sequence

class StaleHandle(Exception):
    """A handle whose peer, track or egress is gone."""

class TableFull(Exception):
    """A table has reached its bound; the text names it."""

class Engine:
    """The packet path. Only `sfu.media.control` calls it; all times are µs of the monotonic clock.

    Handles are generation << 32 | index; a stale one raises StaleHandle.
    """

    def __init__(
        self,
        fd: int,
        family: int,
        *,
        seed: bytes,
        functions: Sequence[int],
        ciphers: Sequence[int],
        peers_max: int = 20_000,
        paths_max: int = 80_000,
        tracks_max: int = 50_000,
        egress_max: int = 200_000,
        sources_max: int = 200_000,
        ssrcs_per_peer: int = 64,
        streams_per_peer: int = 512,
        paths_per_peer: int = 8,
        expected_max: int = 8_192,
        events_max: int = 65_536,
        control_per_read: int = 128,
        reads_per_call: int = 8,
        send_queue: int,
        keyframe_wait_us: int = 3_000_000,
        cache_size: int,
        cache_audio_size: int,
        cache_video_size: int,
        cache_audio_us: int,
        cache_video_us: int,
        start_us: int,
        missing_max: int,
        waiting_max: int,
        slice_us: int,
        overload_us: int,
    ) -> None:
        """`functions`: addresses of srtp_protect, srtp_unprotect, srtp_protect_rtcp, srtp_unprotect_rtcp,
        srtp_remove_stream. `ciphers`: those of OpenSSL in the order of c/evp.h, or none: then libsrtp
        seals under AEAD too.

        The cache takes `cache_size` bytes in all, `cache_audio_size` or `cache_video_size` of them for one
        source, and keeps a packet for `cache_audio_us` or `cache_video_us`. `start_us`: a keyframe as
        young as this starts a new subscriber; 0 is never. `missing_max`: numbers asked for at a time.

        `waiting_max` packets may wait to be forwarded; one call forwards for `slice_us` and leaves the rest
        to the next; video that waited for `overload_us` is given up.
        """

    def on_readable(self, now_us: int) -> list[tuple[bytes, bytes, int, int]]:
        """Receive, forward, send. Returns (path, data, 1 for STUN or 2 for DTLS, peer or 0) for the rest."""

    def tick(self, now_us: int) -> int:
        """Send the reports that are due. Returns the µs moment of the next one, or 0."""

    def forward(self, now_us: int) -> None:
        """Go on forwarding what still waits."""

    def behind(self) -> bool:
        """Whether something still waits to be forwarded, and can be: call `on_readable` or `forward` soon."""

    def repair(self, now_us: int) -> None:
        """Ask publishers for the missing packets whose time has come."""

    def repair_at(self) -> int:
        """The µs moment at which `repair` has work, or 0."""

    def send(self, path: bytes, data: bytes) -> bool: ...
    def blocked(self) -> bool:
        """Whether the socket is full and datagrams wait for `on_writable`."""

    def on_writable(self) -> None:
        """Send what waited."""

    def take_events(self) -> list[tuple[int, int, int]]:
        """(event, handle, value) since the last call; events are the EVENT_ constants of control.py."""

    def add_peer(self, cname: bytes, ssrc: int) -> int: ...
    def remove_peer(self, peer: int) -> None: ...
    def set_srtp(
        self, peer: int, inbound: int, outbound: int, rtp_tag: int, rtcp_trailer: int, sealing: bytes
    ) -> None:
        """Sessions of libsrtp; and master key and salt for RTP that goes out under AEAD, or b""."""

    def expect_path(self, path: bytes, now_us: int) -> None: ...
    def allow_path(self, peer: int, path: bytes, now_us: int) -> bool: ...
    def take_path(self, peer: int, path: bytes) -> None: ...
    def forget_path(self, path: bytes) -> bool: ...
    def select_path(self, peer: int, path: bytes, now_us: int) -> bool: ...
    def set_extensions(
        self,
        peer: int,
        mid: int,
        rid: int,
        repaired_rid: int,
        transport_cc: int,
        level: int,
        feedback: bool,
    ) -> None:
        """Ids of header extensions (0 for none), and whether transport-wide feedback is wanted."""

    def send_remb(self, peer: int, bitrate_bps: int) -> None: ...
    def add_track(
        self,
        peer: int,
        mid: bytes,
        video: bool,
        codecs: Sequence[tuple[int, int, int, int]],
        ssrcs: Sequence[tuple[int, int]],
        rids: Sequence[bytes],
        nack: bool,
    ) -> int:
        """codecs: (payload type, codec number, clock rate, the type that RTX repeats or 255); ssrcs: (media,
        rtx or 0); `nack`: the publisher answers NACKs."""

    def update_track(
        self,
        track: int,
        mid: bytes,
        codecs: Sequence[tuple[int, int, int, int]],
        ssrcs: Sequence[tuple[int, int]],
        rids: Sequence[bytes],
        nack: bool,
    ) -> None: ...
    def remove_track(self, track: int) -> None: ...
    def take_stalled(self, now_us: int, limit_us: int) -> list[tuple[int, int]]:
        """Tracks silent for so long, with the time in µs; each once per stall."""

    def request_keyframe(self, track: int, layer: int, fir: bool) -> bool:
        """Send a PLI or FIR; False when the layer has no SSRC yet or its peer can't be sent to."""

    def add_egress(
        self,
        peer: int,
        mid: bytes,
        mid_id: int,
        mixed: bool,
        ssrc: int,
        rtx_ssrc: int,
        clock_rate: int,
        cname: bytes,
        video: bool,
        index: int,
        timestamp: int,
        rtx_index: int,
    ) -> int:
        """A held subscription without a track; its first packet gets this timestamp and SRTP index, whose
        low half is the sequence number, its first RTX packet `rtx_index`. `rtx_ssrc` 0 is none."""

    def update_egress(self, egress: int, mid: bytes, mid_id: int, mixed: bool) -> None: ...
    def route_egress(
        self,
        egress: int,
        track: int,
        types: Sequence[tuple[int, int]],
        extensions: Sequence[tuple[int, int]],
        rtx: Sequence[tuple[int, int]],
    ) -> None:
        """Take packets of `track` (0: of none) under these maps; `rtx` maps the subscriber's payload types to
        those of their RTX."""

    def select_layer(self, egress: int, layer: int) -> bool:
        """The layer (index into the track's rids, 0 without simulcast) to go to at its next keyframe.

        Whether that one is yet to come: False when the layer was selected before or is the one in force.
        """

    def hold_egress(self, egress: int) -> None: ...
    def start_egress(self, egress: int, now_us: int) -> bool:
        """Let a held subscription go. True when it has begun from the cache and needs no keyframe."""

    def remove_egress(self, egress: int) -> None: ...
    def counters(self) -> dict[str, int]:
        """Node-wide totals by name; `drop_` names a reason."""

    def take_holds(self) -> tuple[list[int], int]:
        """Calls of `on_readable`, `tick` and `repair` since the last time: how many took at most 2**i us and
        more than the bucket before, the last without a bound; and the ns of all together."""

    def peer_stats(self, peer: int) -> dict[str, int]: ...
    def track_stats(self, track: int) -> list[dict[str, int]]:
        """One dict per layer that has an SSRC."""

    def track_seen(self, track: int) -> tuple[int, int]:
        """When its last packet came (µs, 0 never) and how often a keyframe was asked for."""

    def egress_stats(self, egress: int) -> dict[str, int]: ...
    def live(self) -> dict[str, int]:
        """Peers, tracks, egress, sources and paths in use, and send slots taken."""

def probe_keyframe(codec: int, payload: bytes, codecs: dict[int, int]) -> bool:
    """Whether a payload begins a keyframe; `codecs` maps payload types inside RED to codec numbers."""

def probe_rewrite(
    packet: bytes,
    *,
    ssrc: int,
    seq: int,
    timestamp: int,
    types: dict[int, int],
    extensions: dict[int, int],
    mid: bytes = b"",
    mid_id: int = 0,
    mixed: bool = False,
    red: bool = False,
    osn: int = -1,
    room: int = 2048,
) -> bytes | None:
    """The packet as a subscriber would get it before SRTP, or None when it is not forwarded. `osn` from 0 on:
    as RTX of this number."""

class ProbeNumbers:
    """A subscriber's numbering by itself."""

    def restart(self, number: int, out: int, source: int) -> None:
        """Go on with `source`, whose `number` is to leave as `out`."""

    def number_of(self, number: int) -> int | None:
        """The number under which an input of the present source leaves."""

    def skip(self, number: int) -> bool:
        """Whether the input's number was closed up."""

    def input_of(self, out: int) -> tuple[int, int] | None:
        """Source and number of what left, or is to leave, as `out`."""

class ProbeCache:
    """One cache, and a second that takes what the pool has beside it."""

    def __init__(self, blocks: int, blocks_max: int) -> None: ...
    def put(self, number: int, data: bytes, now_us: int, before_us: int) -> bool:
        """Keep a packet; False when there was no room."""

    def find(self, number: int) -> bytes | None: ...
    def fit(self, seconds: float, hold_s: float) -> None: ...
    def clear(self) -> None: ...
    def fill_other(self, data: bytes) -> bool:
        """Put a packet into the other cache."""

    def clear_other(self) -> None: ...
    def taken(self) -> int:
        """Blocks in use."""

def probe_vp8(steps: list[tuple[bool, bytes]]) -> list[bytes]:
    """Payloads as a subscriber gets them in turn; True begins another source with this one."""

def probe_flow(packets: list[tuple[int, int]], newest_us: list[int]) -> list[bool]:
    """Whether a layer whose (timestamp, µs) these are has ceased by each of those moments."""

def probe_twcc(
    arrivals: list[tuple[int, int] | None], sender: int, media: int, room: int = 1200
) -> list[bytes]:
    """Record (sequence number, µs) in turn; None asks for a report. The feedback packets, in order."""

def probe_tables(e: Engine) -> list[str]:
    """What does not fit together in the tables, in words: nothing, always."""

def probe_seal(
    ciphers: Sequence[int],
    key: bytes,
    packets: list[tuple[bytes, int, int]],
    *,
    session: bool = False,
) -> list[bytes] | None: ...
