"""A camera in layers for the tests: VP8 with running numbers, keyframes when asked, sender reports."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sfu.base.ids import Rid
from sfu.wire.rtcp import PictureLoss, SenderReport
from tests.reference.vp8 import Descriptor, parse, serialize
from tests.sfu.media.peers import REPAIRED_RID, RID, VIDEO, VP8_RTX, video

if TYPE_CHECKING:
    from sfu.wire.rtp import RtpPacket
    from tests.sfu.media.peers import Client, Node

FRAME_S = 1 / 30
SIMULCAST = replace(VIDEO, rids=(Rid("a"), Rid("b"), Rid("c")))
NTP = 0xE000_0000


@dataclass(frozen=True, slots=True)
class Seen:
    """A packet as its subscriber got it, and what its payload tells of its origin."""

    packet: RtpPacket
    descriptor: Descriptor
    layer: int
    frame: int
    part: int
    key: bool
    source_sequence: int
    encoded: int
    """Which frame of its layer, modulo 65536."""


def seen(packet: RtpPacket) -> Seen:
    """Read a packet of a `Camera`."""
    found = parse(packet.payload)
    assert found is not None
    descriptor, rest = found
    tail = rest[6:]
    return Seen(
        packet,
        descriptor,
        tail[0],
        int.from_bytes(tail[1:5], "big"),
        tail[5],
        tail[5] == 0 and not rest[0] & 1,
        int.from_bytes(tail[6:8], "big"),
        int.from_bytes(tail[8:10], "big"),
    )


@dataclass
class Layer:
    """One encoder. Its counts begin anywhere, as a browser's do."""

    index: int
    rng: random.Random
    sending: bool = True
    key: bool = True
    keyframes: int = 0
    encoded: int = 0
    sequence: int = field(init=False)
    timestamp: int = field(init=False)
    picture: int = field(init=False)
    tl0: int = field(init=False)

    def __post_init__(self) -> None:
        self.sequence = self.rng.randrange(1 << 16)
        self.timestamp = self.rng.randrange(1 << 32)
        self.picture = self.rng.randrange(1 << 15)
        self.tl0 = self.rng.randrange(256)

    @property
    def ssrc(self) -> int:
        return 0x30 + self.index

    @property
    def rid(self) -> str:
        return "abc"[self.index]

    def stamp(self, captured_s: float) -> int:
        return (self.timestamp + round(captured_s * 90_000)) & 0xFFFFFFFF

    def encode(self, frame: int) -> list[RtpPacket]:
        """The packets of one frame: more of them, and larger ones, the better the layer."""
        key, self.key = self.key, False
        self.keyframes += key
        self.encoded = (self.encoded + 1) & 0xFFFF
        self.picture = (self.picture + 1) & 0x7FFF
        self.tl0 = (self.tl0 + 1) & 0xFF
        parts = 3 - self.index
        packets: list[RtpPacket] = []
        for part in range(parts):
            first = Descriptor(
                0x90 if part == 0 else 0x80,
                self.picture,
                wide=True,
                tl0=self.tl0,
                temporal=0,
                temporal_used=True,
            )
            head = bytes.fromhex("1000009d012a" if key else "110000000000")
            counts = self.sequence.to_bytes(2, "big") + self.encoded.to_bytes(2, "big")
            tail = bytes((self.index, *frame.to_bytes(4, "big"), part)) + counts
            packets.append(
                video(
                    self.sequence,
                    ssrc=self.ssrc,
                    rid=self.rid,
                    timestamp=self.stamp(frame * FRAME_S),
                    payload=serialize(first) + head + tail + bytes(60 * (2 - self.index)),
                    marker=part == parts - 1,
                )
            )
            self.sequence = (self.sequence + 1) & 0xFFFF
        return packets


class Camera:
    """A publisher of three layers, "a" the best. `step` is one frame, its feedback read and obeyed before."""

    def __init__(self, node: Node, publisher: Client, *, seed: int = 0) -> None:
        rng = random.Random(seed)
        self.node = node
        self.publisher = publisher
        self.layers = [Layer(i, rng) for i in range(3)]
        self.frame = 0
        self.repaired = 0

    def step(self, *, reverse: bool = False, lost: frozenset[int] = frozenset()) -> list[RtpPacket]:
        """Send a frame of each layer, best first or last, without the packets of these places: those lost."""
        for packet in self.publisher.take_rtcp():
            if isinstance(packet, PictureLoss):
                self.layers[packet.ssrc - 0x30].key = True
        order = reversed(self.layers) if reverse else self.layers
        packets = [packet for layer in order if layer.sending for packet in layer.encode(self.frame)]
        self.publisher.send(*(packet for i, packet in enumerate(packets) if i not in lost))
        self.node.read()
        self.frame += 1
        self.node.advance(FRAME_S)
        return [packet for i, packet in enumerate(packets) if i in lost]

    def repair(self, *packets: RtpPacket) -> None:
        """Send these again as RTX, as a publisher does that names no SSRCs."""
        for packet in packets:
            self.repaired += 1
            rid = dict(packet.extensions)[RID]
            again = replace(
                packet,
                ssrc=packet.ssrc + 0x10,
                sequence=self.repaired,
                payload_type=VP8_RTX,
                payload=packet.sequence.to_bytes(2, "big") + packet.payload,
                extensions=(*((i, value) for i, value in packet.extensions if i != RID), (REPAIRED_RID, rid)),
            )
            self.publisher.send(again)
        self.node.read()

    def report(self) -> None:
        """Send a sender report of each layer that is sent."""
        captured_s = self.frame * FRAME_S
        ntp = (NTP << 32) + round(captured_s * (1 << 32))
        for layer in self.layers:
            if layer.sending:
                report = SenderReport(layer.ssrc, ntp, layer.stamp(captured_s), 1, 1)
                self.publisher.send([report])
        self.node.read()
