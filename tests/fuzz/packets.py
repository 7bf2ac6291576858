"""What a client with keys may send and ought not to: RTP with every header oddity, RTCP that lies, and
bytes in the shape of STUN and DTLS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sfu.base.ids import PayloadType
from sfu.wire.rtcp import (
    Bye,
    FullIntra,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    serialize_rtcp,
)
from sfu.wire.rtp import RtpPacket, serialize_rtp
from tests.sfu.media.peers import REPAIRED_RID, RID, VP8_RTX, audio, video

if TYPE_CHECKING:
    import random

    from sfu.media.events import TrackId
    from tests.sfu.media.peers import Client


@dataclass(slots=True)
class Flow:
    """One SSRC of a publisher, as it goes on."""

    client: Client
    track: TrackId
    mid: str | None
    rid: str | None
    video: bool
    ssrc: int
    sequence: int
    transport: int = 0

    def packet(self, rng: random.Random) -> RtpPacket:
        """The next packet, or one after a gap or a jump; a fifth of video begins a keyframe."""
        self.sequence += rng.choice((1,) * 30 + (2, 5, -3, 900, 1100, 40_000))
        self.transport += 1
        if not self.video:
            return audio(self.sequence, ssrc=self.ssrc, mid=self.mid)
        return video(
            self.sequence,
            ssrc=self.ssrc,
            mid=self.mid,
            rid=self.rid,
            transport=self.transport if self.ssrc % 2 else None,
            key=rng.random() < 0.2,
        )


def strange(rng: random.Random, made: RtpPacket) -> RtpPacket:
    """A well-formed packet with strange contents: types, extensions, payload, padding, timestamp."""
    extensions = made.extensions
    if rng.random() < 0.4:
        extensions += ((rng.choice((2, 3, 4, 7, 201, 202)), rng.randbytes(rng.randrange(1, 20))),)
    kinds = (96, 97, 98, 111, rng.randrange(64), rng.randrange(96, 128))
    return replace(
        made,
        payload_type=PayloadType(rng.choice(kinds)),
        payload=rng.randbytes(rng.randrange(0, 60)) if rng.random() < 0.5 else made.payload,
        padding=rng.choice((0, 0, 1, 200)),
        timestamp=rng.choice((made.timestamp, rng.getrandbits(32))),
        csrcs=tuple(rng.getrandbits(32) for _ in range(rng.choice((0, 0, 1, 15)))),
        extensions=extensions,
    )


def malformed(rng: random.Random, made: RtpPacket) -> bytes:
    """A packet whose lengths and bits do not agree."""
    data = bytearray(serialize_rtp(strange(rng, made)))
    for _ in range(rng.randrange(1, 4)):
        what = rng.randrange(7)
        if what == 0:
            data[0] |= 0x20  # padding of whatever the last byte says
            data[-1] = rng.choice((0, 1, 255, len(data) - 12 & 0xFF, len(data) - 11 & 0xFF))
        elif what == 1:
            data[0] = data[0] & 0xF0 | rng.randrange(16)  # CSRCs that are not there
        elif what == 2:
            data[0] |= 0x10  # an extension that is payload
        elif what == 3 and len(data) > 16 and data[0] & 0x10 and not data[0] & 0x0F:
            data[12:14] = rng.choice((b"\xbe\xde", b"\x10\x00", b"\x10\x0f", b"\0\0"))
            data[15] = rng.choice((0, 1, 2, 255))
        elif what == 4:
            data = data[: rng.randrange(12, len(data) + 1)]
        elif what == 5 and len(data) > 16:
            data[rng.randrange(16, len(data))] = rng.choice((0, 0x0F, 0xF0, 0xFF))
        else:
            data[1] ^= 0x80
    return bytes(data)


def resent(rng: random.Random, made: RtpPacket) -> RtpPacket:
    """RTX (RFC 4588 4): of a packet of this flow, of none, or without a whole number of one."""
    lost = (made.sequence - rng.randrange(100) & 0xFFFF).to_bytes(2, "big")
    payload = rng.choice((b"", b"\0", lost, lost + made.payload, lost + made.payload))
    rids = tuple((REPAIRED_RID, value) for number, value in made.extensions if number == RID)
    return replace(
        made,
        payload_type=VP8_RTX,
        ssrc=made.ssrc + 0x8000,
        sequence=made.sequence * 3 & 0xFFFF,
        payload=payload,
        padding=rng.choice((0, 0, 0, 200)),
        extensions=tuple(element for element in made.extensions if element[0] != RID) + rids,
    )


def lies(rng: random.Random, ssrc: int, sequence: int) -> list[RtcpPacket]:
    """A well-formed compound of what is not so: NACKs of everything, absurd reports, REMB of 0."""
    numbers = range(sequence, sequence + rng.choice((1, 17, 200)))
    block = ReportBlock(
        ssrc,
        rng.randrange(256),
        rng.choice((0, 0x7FFFFF, 0x800000, 0xFFFFFF)),
        rng.getrandbits(32),
        rng.getrandbits(32),
        rng.getrandbits(32),
        rng.getrandbits(32),
    )
    said: list[RtcpPacket] = [
        SenderReport(ssrc, rng.getrandbits(64), rng.getrandbits(32), rng.getrandbits(32), 1, (block,)),
        ReceiverReport(ssrc, (block,) * rng.randrange(5)),
        PictureLoss(1, ssrc),
        FullIntra(1, ((ssrc, rng.randrange(256)),)),
        Nack(1, ssrc, tuple(number & 0xFFFF for number in numbers)),
        Remb(1, rng.choice((0, 1, rng.getrandbits(60))), (ssrc,)),
        Bye((ssrc,)),
    ]
    return rng.sample(said, rng.randrange(1, 5))


def nack_storm(ssrc: int, first: int, entries: int = 290) -> bytes:
    """A NACK in which each entry asks for 17 packets (RFC 4585 6.2.1): 4930 of them in one datagram."""
    asked = b"".join(((first + 17 * i) & 0xFFFF).to_bytes(2, "big") + b"\xff\xff" for i in range(entries))
    head = b"\x81\xcd" + (2 + entries).to_bytes(2, "big")
    return head + bytes(4) + ssrc.to_bytes(4, "big") + asked


def broken_compound(rng: random.Random, ssrc: int) -> bytes:
    """A compound of any bytes behind its first SSRC, or one cut and patched."""
    if rng.random() < 0.5:
        body = rng.randbytes(4 * rng.randrange(1, 60))
        words = len(body) // 4 if rng.random() < 0.8 else rng.getrandbits(16)
        head = bytes((0x80 | rng.randrange(32), rng.randrange(200, 208))) + words.to_bytes(2, "big")
        return head + ssrc.to_bytes(4, "big") + body[4:]
    data = bytearray(serialize_rtcp(lies(rng, ssrc, rng.getrandbits(16))))
    for _ in range(rng.randrange(1, 6)):
        data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(data[: rng.choice((len(data), 4 * rng.randrange(2, len(data) // 4 + 1)))])


def junk(rng: random.Random) -> bytes:
    """Bytes that nobody sealed."""
    first = rng.choice((0, 1, 20, 22, 128, 129, 144, 160, 191, 255))
    second = rng.choice((rng.randrange(256), 200, 205))
    return bytes((first, second)) + rng.randbytes(rng.choice((0, 1, 9, 20, 60, 1400, 1499, 3000)))


def control_shaped(rng: random.Random) -> bytes:
    """STUN by its header, or DTLS records by theirs."""
    if rng.random() < 0.5:
        body = rng.randbytes(4 * rng.randrange(30))
        length = len(body) if rng.random() < 0.8 else rng.getrandbits(16)
        return (
            bytes((0, rng.choice((1, 0x11))))
            + length.to_bytes(2, "big")
            + b"\x21\x12\xa4\x42"
            + (rng.randbytes(12) + body)
        )
    body = rng.randbytes(rng.randrange(1200))
    return bytes((rng.randrange(20, 26),)) + b"\xfe\xfd" + bytes(8) + len(body).to_bytes(2, "big") + body
