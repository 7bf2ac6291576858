"""Reference ends of a media stream on a simulated network, with a real engine between them.

The publisher answers NACKs by RTX and keyframe requests by keyframes; a subscriber asks for what it misses
at its round-trip time. Both are plain, and neither believes that the node is right: a `Tap` holds all that
the node sends to a subscriber, before the link to it loses any, against what was published.
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, replace

from pylibsrtp import Error

from sfu.base.ids import PayloadType, Ssrc
from sfu.media.tracks import Routes
from sfu.wire.rtcp import Nack, PictureLoss, RtcpPacket, parse_rtcp
from sfu.wire.rtp import RtpPacket, is_rtcp, parse_rtp
from tests.sfu.media import peers

EGRESS_RTX = Ssrc(0xE0000077)
EGRESS = replace(peers.VIDEO_EGRESS, rtx_ssrc=EGRESS_RTX)
ROUTES = Routes({peers.VP8: PayloadType(120)}, rtx_types={PayloadType(120): PayloadType(121)})
RTX_OFFSET = 0x40
FRAME_S = 1 / 30
BASE_S = 1000.0  # the engine's clock when the network's is 0


def outgoing(client: peers.Client, packet: RtpPacket | list[RtcpPacket]) -> tuple[str, str, bytes]:
    """A datagram of a client to the node."""
    return address_of(client), "node", client.seal(packet)


def address_of(client: peers.Client) -> str:
    """A client's name on the network."""
    return f"client{client.peer & 0xFFFF}"


class Publisher:
    """Video of 30 frames a second, of one to five packets each; now and then a packet of padding alone."""

    def __init__(self, client: peers.Client, seed: int, stop_s: float, restarts: tuple[float, ...]) -> None:
        self.client = client
        self.sent: list[RtpPacket] = []  # inputs of the node, in order
        self.asked: list[int] = []  # inputs that the node asked for
        self._random = random.Random(seed)
        self._stop_s = stop_s
        self._restarts = list(restarts)
        self._frame_at = 0.0
        self._key = True
        self._kept: dict[tuple[int, int], int] = {}  # input by SSRC and sequence number
        self._queue: list[tuple[str, str, bytes]] = []
        self._rtx_sequence = 0
        self._begin(0x11)

    def _begin(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self._sequence = self._random.choice((self._random.getrandbits(16), 65_500))
        self._timestamp = self._random.getrandbits(32)
        self._key = True

    def receive(self, data: bytes, source: str, destination: str, now: float) -> None:
        """RTCP of the node."""
        del source, destination, now
        with contextlib.suppress(Error):  # a datagram that came twice
            for packet in parse_rtcp(self.client.open_rtcp(data)):
                if isinstance(packet, PictureLoss) and packet.ssrc == self.ssrc:
                    self._key = True
                elif isinstance(packet, Nack):
                    for number in packet.lost:
                        self._repair(packet.ssrc, number)

    def _repair(self, ssrc: int, number: int) -> None:
        known = self._kept.get((ssrc, number))
        if known is None:
            return
        self.asked.append(known)
        original = self.sent[known]
        self._rtx_sequence += 1
        repair = replace(
            original,
            payload_type=peers.VP8_RTX,
            ssrc=ssrc + RTX_OFFSET,
            sequence=self._rtx_sequence & 0xFFFF,
            payload=original.sequence.to_bytes(2, "big") + original.payload,
        )
        self._queue.append(outgoing(self.client, repair))

    def timer_at(self) -> float | None:
        return self._frame_at if self._frame_at < self._stop_s else None

    def handle_timer(self, now: float) -> None:
        """The next frame."""
        if self._restarts and now >= self._restarts[0]:
            self._restarts.pop(0)
            self._begin(self.ssrc + 1)
        key, self._key = self._key, False
        count = self._random.randrange(1, 6)
        for i in range(count):
            number = len(self.sent)
            begins = peers.KEYFRAME if key and i == 0 else b"\x00" if i else peers.INTERFRAME
            payload = begins + number.to_bytes(4, "big") + self._random.randbytes(self._random.randrange(900))
            self._send(payload, marker=i == count - 1)
        if self._random.random() < 0.1:
            self._send(b"", padding=200, marker=False)
        self._timestamp = self._timestamp + 3000 & 0xFFFFFFFF
        self._frame_at = now + FRAME_S

    def _send(self, payload: bytes, *, marker: bool, padding: int = 0) -> None:
        packet = peers.video(self._sequence, ssrc=self.ssrc, timestamp=self._timestamp, payload=payload)
        packet = replace(packet, marker=marker, padding=padding)
        self._kept[self.ssrc, packet.sequence] = len(self.sent)
        self.sent.append(packet)
        self._sequence += 1
        self._queue.append(outgoing(self.client, packet))

    def take(self) -> list[tuple[str, str, bytes]]:
        taken, self._queue = self._queue, []
        return taken


def extended(near: int, number: int) -> int:
    """The number nearest to `near` with these low 16 bits."""
    return near + ((number - near + 0x8000) & 0xFFFF) - 0x8000


class Tap:
    """All that the node sent on one subscription: packets by extended number, and RTX beside them."""

    def __init__(self, client: peers.Client) -> None:
        self._client = replace(client)
        self._newest: int | None = None
        self.packets: dict[int, RtpPacket] = {}
        self.repeated = 0

    def hear(self, data: bytes) -> None:
        """A datagram leaves the node."""
        if is_rtcp(data):
            return
        packet = parse_rtp(self._client.open(data))  # refuses another version and padding that is not there
        if self._newest is None:
            self._newest = packet.sequence
        if packet.ssrc == EGRESS_RTX:
            number = extended(self._newest, int.from_bytes(packet.payload[:2], "big"))
            before = self.packets[number]
            self.repeated += 1
            assert packet.payload[2:] == before.payload
            assert (packet.timestamp, packet.marker, packet.payload_type) == (
                before.timestamp,
                before.marker,
                121,
            )
            return
        number = extended(self._newest, packet.sequence)
        assert number not in self.packets, f"number {number} was sent twice"
        self.packets[number] = packet
        self._newest = max(self._newest, number)

    def inputs(self, publisher: Publisher) -> dict[int, int]:
        """Input of the publisher by number, but for padding; media that the publisher never sent fails."""
        whose = {packet.payload: number for number, packet in enumerate(publisher.sent)}
        return {
            number: whose[packet.payload] for number, packet in sorted(self.packets.items()) if packet.payload
        }


@dataclass(slots=True)
class _Wanted:
    at: float
    tries: int = 0


class Subscriber:
    """Takes what comes, and asks for what is missing until it is there or given up."""

    def __init__(self, client: peers.Client, rtt_s: float, tries: int = 12) -> None:
        self.client = replace(client)
        self.got: dict[int, bytes] = {}
        self.first: int | None = None  # number that came first; of what was before, nothing is missed
        self._rtt_s = rtt_s
        self._tries = tries
        self._newest: int | None = None
        self._wanted: dict[int, _Wanted] = {}
        self._queue: list[tuple[str, str, bytes]] = []

    def receive(self, data: bytes, source: str, destination: str, now: float) -> None:
        """A datagram of the node."""
        del source, destination
        with contextlib.suppress(Error):  # one that came twice
            if is_rtcp(data):
                self.client.open_rtcp(data)
                return
            packet = parse_rtp(self.client.open(data))
            number, payload = packet.sequence, packet.payload
            if packet.ssrc == EGRESS_RTX:
                number, payload = int.from_bytes(payload[:2], "big"), payload[2:]
            self._take(number, payload, now)

    def _take(self, number: int, payload: bytes, now: float) -> None:
        newest = number - 1 if self._newest is None else self._newest
        number = extended(newest, number)
        self.first = number if self.first is None else self.first
        assert self.got.setdefault(number, payload) == payload
        self._wanted.pop(number, None)
        for missing in range(newest + 1, number):
            self._wanted[missing] = _Wanted(now + 0.005)
        self._newest = max(newest, number)

    def timer_at(self) -> float | None:
        return min((wanted.at for wanted in self._wanted.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """Ask for what is due, again after a round trip and some."""
        due = [number for number, wanted in self._wanted.items() if wanted.at <= now]
        for number in due:
            wanted = self._wanted[number]
            wanted.at = now + self._rtt_s * 1.5
            wanted.tries += 1
            if wanted.tries > self._tries:
                del self._wanted[number]
        if due:
            lost = tuple(number & 0xFFFF for number in due)
            self._queue.append(outgoing(self.client, [Nack(9, EGRESS.ssrc, lost)]))

    def take(self) -> list[tuple[str, str, bytes]]:
        taken, self._queue = self._queue, []
        return taken


class EngineNode:
    """The engine on its loopback socket, its clients' sockets read and written for them."""

    def __init__(self, node: peers.Node) -> None:
        self.node = node
        self.taps: dict[str, Tap] = {}
        self.arrived: set[tuple[int, int]] = set()  # SSRC and sequence number of what came in
        self._clients: dict[str, peers.Client] = {}

    def add(self, client: peers.Client) -> str:
        """A client is known by the address that this returns."""
        self._clients[address_of(client)] = client
        self.taps[address_of(client)] = Tap(client)
        return address_of(client)

    def receive(self, data: bytes, source: str, destination: str, now: float) -> None:
        """A client's datagram."""
        del destination
        if not is_rtcp(data):
            self.arrived.add((int.from_bytes(data[8:12], "big"), int.from_bytes(data[2:4], "big")))
        self._clients[source].send_raw(data)
        self.node.now = BASE_S + now
        self.node.read()

    def timer_at(self) -> float | None:
        return self.node.media.timer_at() - BASE_S

    def handle_timer(self, now: float) -> None:
        """Reports, requests, feedback."""
        self.node.now = BASE_S + now
        self.node.media.handle_timer(self.node.now)

    def take(self) -> list[tuple[str, str, bytes]]:
        """All that the node sent, noted by the taps."""
        out: list[tuple[str, str, bytes]] = []
        for address, client in self._clients.items():
            while True:
                try:
                    data = client.sock.recv(4096)
                except BlockingIOError:
                    break
                if address in self.taps:
                    self.taps[address].hear(data)
                out.append(("node", address, data))
        return out
