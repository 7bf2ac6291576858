"""Peers of the packet path for its tests: a real UDP socket and libsrtp each, time passed by hand."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pylibsrtp does not type its constants.

from __future__ import annotations

import secrets
import select
import socket
from dataclasses import dataclass, field, replace

from pylibsrtp import Policy, Session

from sfu.base.ids import Mid, PayloadType, Ssrc
from sfu.media.control import MediaControl
from sfu.media.engine import probe_tables
from sfu.media.events import ControlDatagram, EgressId, MediaEvent, PeerId, TrackId
from sfu.media.limits import Limits
from sfu.media.tracks import Egress, ExtensionIds, Feedback, IngressCodec, IngressTrack, Kind, Routes
from sfu.net.address import Address, Path, make_path
from sfu.net.udp import open_udp
from sfu.wire.rtcp import RtcpPacket, parse_rtcp, serialize_rtcp
from sfu.wire.rtp import RtpPacket, is_rtcp, parse_rtp, serialize_rtp
from sfu.wire.srtp import SrtpKeys, SrtpProfile

MID, RID, REPAIRED_RID, TRANSPORT_CC, LEVEL = 1, 2, 3, 4, 5
EXTENSIONS = ExtensionIds(mid=MID, rid=RID, repaired_rid=REPAIRED_RID, transport_cc=TRANSPORT_CC)
VP8, VP8_RTX, OPUS = PayloadType(96), PayloadType(97), PayloadType(111)
# RFC 7741: descriptor with S, then a keyframe's header with its start code; or an interframe's.
KEYFRAME = b"\x10\x10\x00\x00\x9d\x01\x2a\x40\x01\xf0\x00"
INTERFRAME = b"\x10\x11\x00\x00\x00\x00\x00\x00"

VIDEO = IngressTrack(
    mid=Mid("v"),
    kind=Kind.VIDEO,
    codecs={VP8: IngressCodec("VP8", 90000, VP8_RTX)},
    extensions=EXTENSIONS,
    feedback=Feedback(transport_cc=True, pli=True, fir=True, nack=True),
)
AUDIO = IngressTrack(
    mid=Mid("a"),
    kind=Kind.AUDIO,
    codecs={OPUS: IngressCodec("opus", 48000)},
    extensions=EXTENSIONS,
    feedback=Feedback(transport_cc=True),
)
VIDEO_EGRESS = Egress(Mid("7"), Kind.VIDEO, Ssrc(0xE0000001), 90000, "pub", mid_extension_id=9)
AUDIO_EGRESS = Egress(Mid("8"), Kind.AUDIO, Ssrc(0xE0000002), 48000, "pub", mid_extension_id=9)
VIDEO_ROUTES = Routes({VP8: PayloadType(120)})
AUDIO_ROUTES = Routes({OPUS: PayloadType(109)}, {LEVEL: 6})


def fresh_keys(profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM) -> SrtpKeys:
    """Keys as the server of a handshake has them."""
    size = profile.key_bytes + profile.salt_bytes
    return SrtpKeys(profile, secrets.token_bytes(size), secrets.token_bytes(size))


@dataclass
class Client:
    """A client's end: what it sends under its keys, and what it got."""

    node: Node
    peer: PeerId
    keys: SrtpKeys
    sock: socket.socket
    path: Path
    rtp: list[RtpPacket] = field(default_factory=list[RtpPacket])
    rtcp: list[list[RtcpPacket]] = field(default_factory=list[list[RtcpPacket]])
    raw: list[bytes] = field(default_factory=list[bytes])

    def __post_init__(self) -> None:
        self._out = _session(self.keys.profile, self.keys.remote, inbound=False)
        self._in = _session(self.keys.profile, self.keys.local, inbound=True)

    def seal(self, packet: RtpPacket | list[RtcpPacket] | bytes) -> bytes:
        """Protect a packet; bytes are an RTP packet or compound as they stand."""
        if isinstance(packet, RtpPacket):
            packet = serialize_rtp(packet)
        elif isinstance(packet, list):
            packet = serialize_rtcp(packet)
        return self._out.protect_rtcp(packet) if is_rtcp(packet) else self._out.protect(packet)

    def send(self, *packets: RtpPacket | list[RtcpPacket] | bytes) -> None:
        """Protect and send; the node has not read it yet."""
        for packet in packets:
            self.send_raw(self.seal(packet))

    def send_raw(self, data: bytes) -> None:
        """Send a datagram as it is."""
        self.sock.send(data)

    def receive(self) -> None:
        """Take in all that waits, into `rtp`, `rtcp` and, if it is neither, `raw`."""
        while True:
            try:
                data = self.sock.recv(65536)
            except BlockingIOError:
                return
            if not 128 <= data[0] <= 191:
                self.raw.append(data)
            elif is_rtcp(data):
                self.rtcp.append(parse_rtcp(self.open_rtcp(data)))
            else:
                self.rtp.append(parse_rtp(self.open(data)))

    def open(self, data: bytes) -> bytes:
        """Authenticate and decrypt an RTP packet."""
        return self._in.unprotect(data)

    def open_rtcp(self, data: bytes) -> bytes:
        """Authenticate and decrypt a compound."""
        return self._in.unprotect_rtcp(data)

    def take(self) -> list[RtpPacket]:
        """RTP that came since the last call."""
        self.receive()
        taken, self.rtp = self.rtp, []
        return taken

    def take_rtcp(self) -> list[RtcpPacket]:
        """RTCP packets that came since the last call, compounds joined."""
        self.receive()
        taken, self.rtcp = self.rtcp, []
        return [packet for compound in taken for packet in compound]


def _session(profile: SrtpProfile, key: bytes, *, inbound: bool) -> Session:
    policy = Policy(
        key=key,
        ssrc_type=Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND,
        srtp_profile=getattr(Policy, f"SRTP_PROFILE_{profile.name}"),
    )
    policy.allow_repeat_tx = True
    policy.window_size = 4096
    return Session(policy)


class Node:
    """A `MediaControl` on loopback whose time stands still until told."""

    def __init__(self, limits: Limits | None = None, sock: socket.socket | None = None) -> None:
        self.sock = sock or open_udp(
            "127.0.0.1", 0, setting="--media"
        )  # no timestamps: the kernel's clock does not stand still
        if limits is None or limits.slice_s == Limits().slice_s:  # as long as it takes
            limits = replace(limits or Limits(), slice_s=60)
        self.media = MediaControl(self.sock, limits)
        self.now = 1000.0
        self.datagrams: list[ControlDatagram] = []
        self.events: list[MediaEvent] = []
        self._clients: list[socket.socket] = []

    def close(self) -> None:
        """Close all sockets. Slots must be at rest, and the engine's tables agree."""
        assert self.media.live()["slots"] == 0
        assert self.faults() == []
        for sock in (self.sock, *self._clients):
            sock.close()

    def dial(self) -> tuple[socket.socket, Path]:
        """A client's socket and its path, which the node does not know yet."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1", 0))
        sock.connect(self.sock.getsockname())
        self._clients.append(sock)
        return sock, make_path(Address("127.0.0.1", sock.getsockname()[1]), "127.0.0.1")

    def client(self, keys: SrtpKeys | None = None) -> Client:
        """A peer with a path and keys."""
        sock, path = self.dial()
        peer = self.media.add_peer()
        keys = keys or fresh_keys()
        self.media.allow_path(peer, path)
        self.media.set_keys(peer, keys)
        return Client(self, peer, keys, sock, path)

    def subscribe(
        self,
        client: Client,
        track: TrackId | None,
        egress: Egress = VIDEO_EGRESS,
        routes: Routes | None = VIDEO_ROUTES,
    ) -> EgressId:
        """A started subscription."""
        handle = self.media.add_egress(client.peer, egress, track, None if track is None else routes)
        self.media.start_egress(handle)
        return handle

    def read(self) -> None:
        """Let the node take all that waits on its socket."""
        while select.select([self.sock], [], [], 0)[0]:
            self.datagrams += self.media.on_readable(self.now)
        self.events += self.media.take_events()

    def advance(self, seconds: float) -> None:
        """Let time pass, doing what is due at its moment."""
        end = self.now + seconds
        while (at := self.media.timer_at()) <= end:
            self.now = max(self.now, at)
            self.media.handle_timer(self.now)
        self.now = end
        self.events += self.media.take_events()

    def faults(self) -> list[str]:
        """What does not fit together in the engine's tables."""
        return probe_tables(self.media._engine)  # pyright: ignore[reportPrivateUsage] -- to look inside

    def drops(self) -> dict[str, int]:
        """Drop counters that are not 0."""
        return {
            name.removeprefix("drop_"): count
            for name, count in self.media.counters().items()
            if name.startswith("drop_") and count
        }


def video(
    sequence: int,
    *,
    ssrc: int = 0x11,
    mid: str | None = "v",
    rid: str | None = None,
    key: bool = False,
    timestamp: int | None = None,
    transport: int | None = None,
    payload: bytes | None = None,
    **changes: object,
) -> RtpPacket:
    """A VP8 packet that is a frame of its own."""
    extensions: list[tuple[int, bytes]] = []
    if mid is not None:
        extensions.append((MID, mid.encode()))
    if rid is not None:
        extensions.append((RID, rid.encode()))
    if transport is not None:
        extensions.append((TRANSPORT_CC, (transport & 0xFFFF).to_bytes(2, "big")))
    packet = RtpPacket(
        VP8,
        sequence & 0xFFFF,
        (sequence * 3000 if timestamp is None else timestamp) & 0xFFFFFFFF,
        ssrc,
        payload if payload is not None else (KEYFRAME if key else INTERFRAME) + sequence.to_bytes(4, "big"),
        marker=True,
        extensions=tuple(extensions),
    )
    return replace(packet, **changes)  # pyright: ignore[reportArgumentType] -- fields by name


def audio(sequence: int, *, ssrc: int = 0x22, mid: str | None = "a", level: int | None = 30) -> RtpPacket:
    """An Opus packet of 20 ms."""
    extensions: list[tuple[int, bytes]] = []
    if mid is not None:
        extensions.append((MID, mid.encode()))
    if level is not None:
        extensions.append((LEVEL, bytes((level,))))
    return RtpPacket(
        OPUS,
        sequence & 0xFFFF,
        sequence * 960 & 0xFFFFFFFF,
        ssrc,
        b"opus" + sequence.to_bytes(4, "big"),
        extensions=tuple(extensions),
    )
