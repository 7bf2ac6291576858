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
        ciphers: Sequence[int] = (),
        peers_max: int = 20_000,
        paths_max: int = 80_000,
        tracks_max: int = 50_000,
        egress_max: int = 200_000,
        sources_max: int = 200_000,
        ssrcs_per_peer: int = 64,
        streams_per_peer: int = 512,
        paths_per_peer: int = 8,
        expected_max: int = 8_192,
        control_per_read: int = 128,
        reads_per_call: int = 8,
        keyframe_wait_us: int = 3_000_000,
    ) -> None:
        """`functions`: addresses of srtp_protect, srtp_unprotect, srtp_protect_rtcp, srtp_unprotect_rtcp,
        srtp_remove_stream. `ciphers`: those of OpenSSL in the order of c/evp.h, or none: then libsrtp
        seals under AEAD too."""

    def on_readable(self, now_us: int) -> list[tuple[bytes, bytes, int, int]]:
        """Receive, forward, send. Returns (path, data, 1 for STUN or 2 for DTLS, peer or 0) for the rest."""

    def tick(self, now_us: int) -> int:
        """Send the reports that are due. Returns the µs moment of the next one, or 0."""

    def send(self, path: bytes, data: bytes) -> bool: ...
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
        self, peer: int, mid: int, rid: int, repaired_rid: int, transport_cc: int, feedback: bool
    ) -> None:
        """Ids of header extensions (0 for none), and whether transport-wide feedback is wanted."""

    def send_remb(self, peer: int, bitrate_bps: int) -> None: ...
    def add_track(
        self,
        peer: int,
        mid: bytes,
        video: bool,
        codecs: Sequence[tuple[int, int, int]],
        ssrcs: Sequence[tuple[int, int]],
        rids: Sequence[bytes],
    ) -> int:
        """codecs: (payload type, codec number, clock rate); ssrcs: (media, rtx or 0)."""

    def update_track(
        self,
        track: int,
        mid: bytes,
        codecs: Sequence[tuple[int, int, int]],
        ssrcs: Sequence[tuple[int, int]],
        rids: Sequence[bytes],
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
        clock_rate: int,
        cname: bytes,
        video: bool,
        index: int,
        timestamp: int,
    ) -> int:
        """A held subscription without a track; its first packet gets this timestamp and SRTP index, whose
        low half is the sequence number."""

    def update_egress(self, egress: int, mid: bytes, mid_id: int, mixed: bool) -> None: ...
    def route_egress(
        self,
        egress: int,
        track: int,
        types: Sequence[tuple[int, int]],
        extensions: Sequence[tuple[int, int]],
    ) -> None:
        """Take packets of `track` (0: of none) under these maps."""

    def select_layer(self, egress: int, layer: int) -> None:
        """The layer (index into the track's rids, 0 without simulcast) to go to at its next keyframe."""

    def hold_egress(self, egress: int, held: bool) -> None: ...
    def remove_egress(self, egress: int) -> None: ...
    def counters(self) -> dict[str, int]:
        """Node-wide totals by name; `drop_` names a reason."""

    def take_holds(self) -> tuple[list[int], int]:
        """Calls of `on_readable` and `tick` since the last time: how many took at most 2**i us and more than
        the bucket before, the last without a bound; and the ns of all together."""

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
    room: int = 2048,
) -> bytes | None:
    """The packet as a subscriber would get it before SRTP, or None when it is not forwarded."""

def probe_seqmap(steps: list[tuple[str, int] | tuple[str, int, int]]) -> list[int | bool | None]:
    """Run ("restart", in, out), ("send", in) and ("skip", in) steps; what each send and skip gave."""

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
