"""A light client: one PeerConnection of one session, for the price of a socket and a few kilobytes.

ICE, DTLS and SRTP are real, sound and pictures are synthetic. What all clients of a process share is the
crowd's (crowd.py); what happens per packet is the compiled half's (seal.pyx).
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import time
from typing import TYPE_CHECKING, Final

from loadtest import rtcp
from loadtest.api import RemoteTrack
from loadtest.counts import StreamStats
from loadtest.description import (
    CLOCK_RATES,
    Description,
    Kind,
    Section,
    Transport,
    answer_section,
    new_section,
    read,
    render,
)
from loadtest.handshake import Handshake, HandshakeError
from loadtest.ice import Checks, Credentials, IceError, State, new_credentials
from loadtest.seal import Endpoint, SealError
from loadtest.source import Media, Source
from sfu.net.address import Address
from sfu.wire.rtcp import ReportBlock
from sfu.wire.stun import StunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadtest.crowd import Crowd

REPORT_EVERY_S: Final = 1.0
RECEIVE_BUFFER_BYTES: Final = 1 << 19  # a burst of some 300 packets while the loop is busy elsewhere
LOST_CANDIDATE_S: Final = 1.0  # how long one of several candidates may stay silent before the next is tried


class ConnectFailed(Exception):
    """A client could not connect; the text says at which step."""


class Peer:
    """One PeerConnection of one session. Made by `Crowd.peer`."""

    def __init__(self, crowd: Crowd, session: str) -> None:
        self.session = session
        self.closed = False
        self.connect_s: float | None = None  # from the start of ICE to the SRTP keys
        self._crowd = crowd
        self._credentials = new_credentials()
        self._transport = Transport(
            self._credentials.ufrag, self._credentials.pwd, crowd.identity.fingerprint
        )
        self._sections: list[Section] = []
        self._version = 0
        self._remote: Description | None = None
        self._candidates: list[Address] = []
        self._endpoint: Endpoint | None = None
        self._server = Address("", 0)  # the candidate that is tried
        self._began_at = 0.0
        self._checks: Checks | None = None
        self._handshake: Handshake | None = None
        self._connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connected.add_done_callback(_seen)
        self._sources: dict[int, Source] = {}
        self._pulled: dict[RemoteTrack, Section] = {}
        self._report_at: float | None = None
        self._reports: dict[int, tuple[int, int]] = {}  # ssrc -> (expected, received) at the last report
        self._sender_reports: dict[int, tuple[int, float]] = {}  # ssrc -> (NTP middle, arrival)
        self._rtx: set[int] = set()  # SSRCs that repair others and are none of their own
        self._link: tuple[float, float, float, int] | None = None
        self._ssrc = random.getrandbits(32)
        self.due_at: float | None = None  # the crowd's: which of its heap's entries for this peer is in force

    # --- signalling ---

    async def publish(self, media: Sequence[Media]) -> list[Source]:
        """Publish tracks in one offer and begin to connect. Raises ApiError."""
        added, answer = await self._push(media)
        self._take(read(answer))
        sources = [
            Source(RemoteTrack(self.session, s.track), s, m) for s, m in zip(added, media, strict=True)
        ]
        self._sources.update((source.ssrc, source) for source in sources)
        return sources

    async def offer_only(self, media: Sequence[Media]) -> None:
        """Publish as `publish` does, but never connect. Raises ApiError."""
        await self._push(media)

    async def pull(self, tracks: Sequence[RemoteTrack]) -> None:
        """Subscribe, answer the server's offer and begin to connect. Raises ApiError."""
        offer = read(await self._crowd.api.pull(self.session, tracks))
        ours = {section.mid: section for section in self._sections if section.track}
        self._sections = [ours.get(s.mid) or answer_section(s) for s in offer.sections]
        answer = render("answer", self._transport, self._sections, self._version)
        self._version += 1
        known = {section.ssrc for section in self._pulled.values()}
        added = [s for s in offer.sections if s.mid not in ours and s.sends and s.ssrc not in known]
        self._pulled.update(zip(tracks, added, strict=False))
        await self._crowd.api.answer(self.session, answer)
        self._take(offer)
        if self.is_connected:
            for section in added:
                self._begin(section)

    async def drop(self, track: RemoteTrack) -> None:
        """Give up one subscription. Raises ApiError, and KeyError for a track that is not pulled."""
        await self._crowd.api.close_tracks(self.session, [self._pulled.pop(track).mid])

    def ask_keyframe(self, track: RemoteTrack) -> None:
        """Send a PLI. Raises KeyError for a track that is not pulled."""
        self.endpoint.send_rtcp(rtcp.pli(self._ssrc, self._pulled[track].ssrc))

    @property
    def tracks(self) -> list[RemoteTrack]:
        """What is pulled."""
        return list(self._pulled)

    @property
    def ssrcs(self) -> list[int]:
        """The SSRCs that the pulled tracks have here."""
        return [section.ssrc for section in self._pulled.values()]

    async def connected(self) -> None:
        """Wait for ICE and DTLS to end well. Raises ConnectFailed; the patience is ICE's and DTLS's own."""
        await asyncio.shield(self._connected)

    @property
    def is_connected(self) -> bool:
        """Whether there are SRTP keys."""
        return (
            self._connected.done() and not self._connected.cancelled() and self._connected.exception() is None
        )

    @property
    def endpoint(self) -> Endpoint:
        """The compiled half. Raises ConnectFailed if there is none yet."""
        if self._endpoint is None:
            raise ConnectFailed(f"session {self.session}: nothing was negotiated yet")
        return self._endpoint

    def start(self, source: Source) -> None:
        """Let one of this peer's sources send, from when the peer is connected."""
        source.start(self.endpoint)

    def lose(self, up: float, down: float, *, run: float = 0, seed: int = 0) -> None:
        """Lose these shares of what leaves and of what arrives from now on, in runs of `run` packets on
        average or, with 0, independently of each other."""
        self._link = (up, down, run, seed)
        if self._endpoint is not None:
            self._endpoint.set_link(*self._link)

    def streams(self) -> list[StreamStats]:
        """What arrived, by SSRC; RTX is counted with what it repairs."""
        if self._endpoint is None:
            return []
        every = (StreamStats(*stats) for stats in self._endpoint.stream_stats())
        return [stats for stats in every if stats.ssrc not in self._rtx]

    def streams_of(self, kind: Kind) -> list[StreamStats]:
        """What arrived of the pulled tracks of one kind."""
        ssrcs = {section.ssrc for section in self._pulled.values() if section.kind == kind}
        return [stats for stats in self.streams() if stats.ssrc in ssrcs]

    def close(self) -> None:
        """Say goodbye by DTLS close_notify and let everything go. Safe to call again."""
        if self.closed:
            return
        self.closed = True
        for source in self._sources.values():
            source.stop()
        if self._handshake is not None and self._endpoint is not None:
            self._handshake.close()
            self._send(self._handshake.take_datagrams())
        if self._endpoint is not None:
            self._endpoint.close()
        if not self._connected.done():
            self._connected.set_exception(ConnectFailed(f"session {self.session}: closed while connecting"))
        self._crowd.forget(self)

    # --- transport: the crowd calls these ---

    def receive_datagram(self, data: bytes, now: float) -> None:
        """STUN, DTLS or opened RTCP."""
        if self.closed:
            return
        try:
            if data[0] < 4:
                self._receive_stun(data, now)
            elif 20 <= data[0] < 64:
                self._receive_dtls(data, now)
            elif data[0] >= 128:
                self._receive_rtcp(data, now)
        except (IceError, StunError, HandshakeError, SealError) as error:
            self._fail(str(error))

    def timer_at(self) -> float | None:
        """The earliest moment at which `handle_timer` has work."""
        times = [
            None if self._checks is None else self._checks.timer_at(),
            None if self._handshake is None else self._handshake.timer_at(),
            self._report_at,
        ]
        return min((at for at in times if at is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Checks, DTLS flights and reports that are due."""
        if self.closed or self._checks is None:
            return
        if self._next_candidate_is_due(now):
            self._try_candidate(now)
        self._checks.handle_timer(now)
        self._send(self._checks.take_datagrams())
        if self._checks.state is State.LOST:
            self._fail("no answer to connectivity checks" if not self.is_connected else "consent lost")
            return
        if self._handshake is not None:
            try:
                self._handshake.handle_timer(now)
            except HandshakeError as error:
                self._fail(str(error))
                return
            self._send(self._handshake.take_datagrams())
        if self._report_at is not None and now >= self._report_at:
            self._report_at = now + REPORT_EVERY_S
            self._send_reports(now)

    async def _push(self, media: Sequence[Media]) -> tuple[list[Section], str]:
        """Offer the new sections; returns them and the answer."""
        taken = {section.mid for section in self._sections}
        mids = (mid for mid in map(str, itertools.count()) if mid not in taken)
        added = [
            new_section(next(mids), m.kind, _ssrc(), _track_name(), _ssrc() if m.repaired else 0)
            for m in media
        ]
        offer = render("offer", self._transport, [*self._sections, *added], self._version)
        answer = await self._crowd.api.publish(self.session, offer, [(s.mid, s.track) for s in added])
        self._version += 1
        self._sections += added
        return added, answer

    def _take(self, remote: Description) -> None:
        first = self._remote is None
        self._remote = remote
        if remote.setup == "active":
            self._fail("the server wants to be the DTLS client; this client is always that itself")
        elif first:
            self._candidates = self._crowd.in_order(remote.candidates)
            if not self._candidates:
                self._fail("no candidate in the server's SDP")
                return
            self._began_at = self._crowd.now()
            self._try_candidate(self._began_at)
            self.handle_timer(self._began_at)
            self._crowd.arm(self)

    def _next_candidate_is_due(self, now: float) -> bool:
        return (
            self._checks is not None
            and self._checks.state is State.CHECKING
            and bool(self._candidates)
            and now - self._began_at >= LOST_CANDIDATE_S
        )

    def _try_candidate(self, now: float) -> None:
        if self._remote is None:
            return
        candidate = self._candidates.pop(0)
        self._began_at = now
        if self._endpoint is not None:
            self._endpoint.close()
        family = socket.AF_INET6 if candidate.is_ipv6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            sock.connect(candidate)
        except OSError as error:
            sock.close()
            if not self._candidates:
                self._fail(f"candidate {candidate}: {error}")
                return
            self._try_candidate(now)
            return
        self._server = candidate
        self._endpoint = self._crowd.swarm.add(sock, self)
        if self._link is not None:
            self._endpoint.set_link(*self._link)
        self._checks = Checks(self._credentials, Credentials(self._remote.ufrag, self._remote.pwd), now)

    def _receive_stun(self, data: bytes, now: float) -> None:
        checks = self._checks
        if checks is None or self._remote is None:
            return
        checks.receive_datagram(data, self._server, now)
        if checks.state is State.VALID and self._handshake is None:
            self._candidates.clear()
            self._handshake = Handshake(self._crowd.identity, self._remote.fingerprint, now)
            self._send(self._handshake.take_datagrams())
        self._send(checks.take_datagrams())
        self._crowd.arm(self)

    def _receive_dtls(self, data: bytes, now: float) -> None:
        handshake = self._handshake
        if handshake is None:
            return
        handshake.receive_datagram(data, now)
        self._send(handshake.take_datagrams())
        if handshake.closed:
            self._fail("the server said goodbye")
            return
        if handshake.keys is not None and not self._connected.done():
            self.endpoint.set_keys(handshake.keys.local, handshake.keys.remote)
            if self._checks is not None and self._checks.rtt_s is not None:
                self.endpoint.set_rtt(self._checks.rtt_s)
            self.connect_s = now - self._began_at
            # Spread: clients that connect together do not report together for ever after.
            self._report_at = now + random.random() * REPORT_EVERY_S  # noqa: S311 no secret
            self._connected.set_result(None)
            for section in self._pulled.values():
                self._begin(section)
        self._crowd.arm(self)

    def _begin(self, pulled: Section) -> None:
        """A pulled track may arrive from now on: a decoder would want a keyframe at once."""
        if pulled.nack:
            rtx_ssrc = pulled.rtx_ssrc if pulled.rtx_pt >= 0 else 0
            self.endpoint.expect(self._ssrc, pulled.ssrc, rtx_ssrc)
            if rtx_ssrc:
                self._rtx.add(rtx_ssrc)
        if pulled.kind == "audio":
            self.endpoint.set_clock_rate(pulled.pt, CLOCK_RATES["audio"])
        else:
            self.endpoint.send_rtcp(rtcp.pli(self._ssrc, pulled.ssrc))

    def _receive_rtcp(self, data: bytes, now: float) -> None:
        for event in rtcp.read(data):
            if isinstance(event, rtcp.KeyframeWanted):
                source = self._sources.get(event.ssrc)
                if source is not None:
                    source.ask_keyframe()
            elif isinstance(event, rtcp.SenderReport):
                self._sender_reports[event.ssrc] = (event.ntp_middle, now)
            else:
                self._crowd.reports_on_us += 1

    def _send_reports(self, now: float) -> None:
        wall_now = time.time()
        for source in self._sources.values():
            report = source.report(wall_now)
            if report is not None:
                self.endpoint.send_rtcp(report)
        blocks = [self._block(stats, now) for stats in self.streams()]
        if blocks:
            self.endpoint.send_rtcp(rtcp.receiver_report(self._ssrc, blocks))

    def _block(self, stats: StreamStats, now: float) -> ReportBlock:
        """RFC 3550 A.3 and 6.4.1. What was repaired was lost on the way: reported so, as browsers do."""
        expected, received = stats.received + stats.lost, stats.received - stats.repaired
        expected_before, received_before = self._reports.get(stats.ssrc, (0, 0))
        self._reports[stats.ssrc] = (expected, received)
        expected_now = expected - expected_before
        lost_now = max(0, expected_now - (received - received_before))
        fraction = min(255, lost_now * 256 // expected_now) if expected_now > 0 else 0
        last_sr, arrived_at = self._sender_reports.get(stats.ssrc, (0, now))
        delay = round((now - arrived_at) * 65536) if last_sr else 0
        return ReportBlock(
            stats.ssrc, fraction, expected - received, stats.highest, round(stats.jitter), last_sr, delay
        )

    def _send(self, datagrams: Iterable[bytes]) -> None:
        for datagram in datagrams:
            self.endpoint.send(datagram)

    def _fail(self, reason: str) -> None:
        if self.closed:
            return
        self._crowd.failures[reason] += 1
        if not self._connected.done():
            self._connected.set_exception(ConnectFailed(f"session {self.session}: {reason}"))
        self.close()


def _ssrc() -> int:
    return random.getrandbits(31) | 1


def _track_name() -> str:
    return f"track-{random.getrandbits(64):016x}"


def _seen(future: asyncio.Future[None]) -> None:
    """A failure that nobody waits for is in `Crowd.failures`; it needs no report of its own."""
    if not future.cancelled():
        future.exception()
