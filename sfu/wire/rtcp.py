"""RTCP compounds as values (RFC 3550 6, 4585 6, 5104 4.3): for tests, tools and slow paths.

The packet path reads and writes its own in C; this is the plain form that it is held against.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass


class RtcpError(Exception):
    """The bytes are no RTCP compound."""


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says of one stream (RFC 3550 6.4.1).

    `fraction_lost` is in 256ths; `last_sr` and `delay` are in 65536ths of a second.
    """

    ssrc: int
    fraction_lost: int
    lost: int
    highest: int
    jitter: int
    last_sr: int
    delay: int


@dataclass(frozen=True, slots=True)
class SenderReport:
    """The sender's clock beside its timestamps, 64-bit NTP and RTP."""

    ssrc: int
    ntp: int
    timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """What a receiver that sends nothing says."""

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class Descriptions:
    """SDES with the CNAME of each SSRC; other items are passed over."""

    cnames: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Bye:
    """These SSRCs send no more."""

    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Nack:
    """Generic NACK: sequence numbers missing (RFC 4585 6.2.1)."""

    sender: int
    ssrc: int
    lost: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PictureLoss:
    """PLI (RFC 4585 6.3.1)."""

    sender: int
    ssrc: int


@dataclass(frozen=True, slots=True)
class FullIntra:
    """FIR (RFC 5104 4.3.1): SSRC and command number of each."""

    sender: int
    requests: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Remb:
    """Receiver's estimate of the bandwidth."""

    sender: int
    bitrate_bps: int
    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    """Arrivals by transport-wide number: `arrivals[i]` is that of base + i in µs, None where lost."""

    sender: int
    ssrc: int
    base: int
    count: int
    """Feedback packet count, which tells that one was lost."""
    arrivals: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A packet of another kind, or one of these whose content does not fit its length."""

    kind: int
    form: int
    body: bytes


RtcpPacket = (
    SenderReport
    | ReceiverReport
    | Descriptions
    | Bye
    | Nack
    | PictureLoss
    | FullIntra
    | Remb
    | TransportFeedback
    | Unknown
)


def parse_rtcp(data: bytes) -> list[RtcpPacket]:
    """Read a compound. Raises RtcpError where the lengths of its packets do not fill it."""
    out: list[RtcpPacket] = []
    at = 0
    while at < len(data):
        if len(data) - at < 4 or data[at] >> 6 != 2:
            raise RtcpError("no RTCP header of version 2")
        size = 4 * (1 + int.from_bytes(data[at + 2 : at + 4], "big"))
        if size > len(data) - at:
            raise RtcpError("a packet beyond the compound")
        out.append(_parse_packet(data[at] & 31, data[at + 1], data[at + 4 : at + size]))
        at += size
    return out


def _parse_packet(form: int, kind: int, body: bytes) -> RtcpPacket:
    try:
        match kind, form:
            case 200, _:
                ssrc, ntp, *rest = struct.unpack_from("!IQIII", body)
                return SenderReport(ssrc, ntp, *rest, blocks=_blocks(body[24:], form))
            case 201, _:
                return ReceiverReport(struct.unpack_from("!I", body)[0], _blocks(body[4:], form))
            case 202, _:
                return Descriptions(_cnames(body, form))
            case 203, _:
                return Bye(struct.unpack_from(f"!{form}I", body))
            case 205, 1:
                return Nack(*struct.unpack_from("!II", body), lost=_nacked(body[8:]))
            case 205, 15:
                return _transport_feedback(body)
            case 206, 1:
                return PictureLoss(*struct.unpack_from("!II", body))
            case 206, 4:
                requests = tuple((ssrc, word >> 24) for ssrc, word in struct.iter_unpack("!II", body[8:]))
                return FullIntra(struct.unpack_from("!II", body)[0], requests)
            case 206, 15 if body[8:12] == b"REMB":
                return _remb(body)
            case _:
                return Unknown(kind, form, body)
    except (struct.error, IndexError):
        return Unknown(kind, form, body)


def _blocks(data: bytes, count: int) -> tuple[ReportBlock, ...]:
    out: list[ReportBlock] = []
    for i in range(count):
        ssrc, loss, highest, jitter, last_sr, delay = struct.unpack_from("!6I", data, 24 * i)
        out.append(ReportBlock(ssrc, loss >> 24, loss & 0xFFFFFF, highest, jitter, last_sr, delay))
    return tuple(out)


def _cnames(body: bytes, count: int) -> tuple[tuple[int, str], ...]:
    out: list[tuple[int, str]] = []
    at = 0
    for _ in range(count):
        (ssrc,) = struct.unpack_from("!I", body, at)
        at += 4
        while body[at]:
            size = body[at + 1]
            item = body[at + 2 : at + 2 + size]
            if body[at] == 1 and len(item) == size:
                out.append((ssrc, item.decode("utf-8", "replace")))
            at += 2 + size
        at += 4 - at % 4
    return tuple(out)


def _nacked(data: bytes) -> tuple[int, ...]:
    out: list[int] = []
    for first, mask in struct.iter_unpack("!HH", data):
        out += [first, *((first + 1 + bit) & 0xFFFF for bit in range(16) if mask >> bit & 1)]
    return tuple(out)


def _remb(body: bytes) -> Remb:
    word = int.from_bytes(body[12:16], "big")
    ssrcs = struct.unpack_from(f"!{word >> 24}I", body, 16)
    return Remb(struct.unpack_from("!I", body)[0], (word & 0x3FFFF) << (word >> 18 & 63), ssrcs)


def _transport_feedback(body: bytes) -> TransportFeedback:
    """draft-holmer-rmcat-transport-wide-cc-extensions-01 3.1."""
    sender, ssrc, base, total, word = struct.unpack_from("!IIHHI", body)
    symbols: list[int] = []
    at = 16
    while len(symbols) < total:
        (chunk,) = struct.unpack_from("!H", body, at)
        at += 2
        if chunk < 0x8000:
            symbols += [chunk >> 13 & 3] * (chunk & 0x1FFF)
        elif chunk < 0xC000:
            symbols += [chunk >> shift & 1 for shift in range(13, -1, -1)]
        else:
            symbols += [chunk >> shift & 3 for shift in range(12, -1, -2)]
    moment = (word >> 8) * 64_000
    arrivals: list[int | None] = []
    for symbol in symbols[:total]:
        if symbol == 0 or symbol == 3:
            arrivals.append(None)
            continue
        (delta,) = struct.unpack_from("!B" if symbol == 1 else "!h", body, at)
        at += symbol
        moment += delta * 250
        arrivals.append(moment)
    return TransportFeedback(sender, ssrc, base, word & 0xFF, tuple(arrivals))


def serialize_rtcp(packets: list[RtcpPacket]) -> bytes:
    """Bytes of a compound. Raises ValueError for a kind that only the packet path writes."""
    return b"".join(_serialize(packet) for packet in packets)


def _serialize(packet: RtcpPacket) -> bytes:
    match packet:
        case SenderReport(ssrc, ntp, timestamp, count, octets, blocks):
            body = struct.pack("!IQIII", ssrc, ntp, timestamp, count, octets)
            return _framed(len(blocks), 200, body + b"".join(map(_block, blocks)))
        case ReceiverReport(ssrc, blocks):
            return _framed(len(blocks), 201, struct.pack("!I", ssrc) + b"".join(map(_block, blocks)))
        case Descriptions(cnames):
            return _framed(len(cnames), 202, b"".join(_chunk(ssrc, name.encode()) for ssrc, name in cnames))
        case Bye(ssrcs):
            return _framed(len(ssrcs), 203, struct.pack(f"!{len(ssrcs)}I", *ssrcs))
        case Nack(sender, ssrc, lost):
            pairs = b"".join(struct.pack("!HH", number, 0) for number in lost)
            return _framed(1, 205, struct.pack("!II", sender, ssrc) + pairs)
        case PictureLoss(sender, ssrc):
            return _framed(1, 206, struct.pack("!II", sender, ssrc))
        case FullIntra(sender, requests):
            pairs = b"".join(struct.pack("!II", ssrc, number << 24) for ssrc, number in requests)
            return _framed(4, 206, struct.pack("!II", sender, 0) + pairs)
        case Remb(sender, bitrate_bps, ssrcs):
            exponent = max(bitrate_bps.bit_length() - 18, 0)
            word = len(ssrcs) << 24 | exponent << 18 | bitrate_bps >> exponent
            body = struct.pack(f"!II4sI{len(ssrcs)}I", sender, 0, b"REMB", word, *ssrcs)
            return _framed(15, 206, body)
        case Unknown(kind, form, body):
            return _framed(form, kind, body)
        case TransportFeedback():
            raise ValueError("transport-wide feedback is written by the packet path alone")


def _framed(form: int, kind: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | form, kind, len(body) // 4) + body


def _block(block: ReportBlock) -> bytes:
    return struct.pack(
        "!6I",
        block.ssrc,
        block.fraction_lost << 24 | block.lost,
        block.highest,
        block.jitter,
        block.last_sr,
        block.delay,
    )


def _chunk(ssrc: int, cname: bytes) -> bytes:
    item = struct.pack("!IBB", ssrc, 1, len(cname)) + cname
    return item + bytes(4 - len(item) % 4)
