"""RTP packets as values (RFC 3550 5.1, RFC 8285): for tests, tools and slow paths.

The packet path has its own reader in C; this one is the plain form that it is held against.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER = struct.Struct("!BBHII")
_ONE_BYTE = 0xBEDE
_TWO_BYTE = 0x1000


class RtpError(Exception):
    """The bytes are no RTP packet."""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One packet, taken apart. `padding` counts the padding bytes, 0 without the P bit."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes = b""
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extensions: tuple[tuple[int, bytes], ...] = ()
    """Elements in order: id and data. Empty also for extension profiles other than RFC 8285's."""
    padding: int = 0

    def extension(self, id: int) -> bytes | None:
        """Data of the first element with an id."""
        return next((data for number, data in self.extensions if number == id), None)


def is_rtcp(data: bytes) -> bool:
    """Whether a datagram of first byte 128-191 is RTCP (RFC 5761 4)."""
    return len(data) >= 2 and 192 <= data[1] <= 223


def parse_rtp(data: bytes) -> RtpPacket:
    """Read a packet. Raises RtpError."""
    if len(data) < _HEADER.size or data[0] >> 6 != 2:
        raise RtpError("no RTP header of version 2")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    at = _HEADER.size + 4 * (first & 15)
    if at > len(data):
        raise RtpError("CSRCs beyond the packet")
    csrcs = struct.unpack_from(f"!{first & 15}I", data, _HEADER.size)
    extensions: tuple[tuple[int, bytes], ...] = ()
    if first & 0x10:
        if at + 4 > len(data):
            raise RtpError("header extension beyond the packet")
        profile, words = struct.unpack_from("!HH", data, at)
        at += 4
        if at + 4 * words > len(data):
            raise RtpError("header extension beyond the packet")
        extensions = _parse_elements(profile, data[at : at + 4 * words])
        at += 4 * words
    padding = 0
    if first & 0x20:
        padding = data[-1]
        if not 1 <= padding <= len(data) - at:
            raise RtpError(f"padding of {padding} in {len(data) - at} bytes")
    return RtpPacket(
        payload_type=second & 0x7F,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=data[at : len(data) - padding],
        marker=second >= 0x80,
        csrcs=csrcs,
        extensions=extensions,
        padding=padding,
    )


def _parse_elements(profile: int, data: bytes) -> tuple[tuple[int, bytes], ...]:
    """RFC 8285 4.2 and 4.3; what follows a malformed element is left out."""
    two = profile & 0xFFF0 == _TWO_BYTE
    if not two and profile != _ONE_BYTE:
        return ()
    out: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        if data[at] == 0:
            at += 1
            continue
        if two:
            if at + 2 > len(data):
                break
            number, size = data[at], data[at + 1]
            at += 2
        else:
            number, size = data[at] >> 4, (data[at] & 15) + 1
            at += 1
            if number == 15:
                break
        if at + size > len(data):
            break
        if number:
            out.append((number, data[at : at + size]))
        at += size
    return tuple(out)


def serialize_rtp(packet: RtpPacket, *, mixed: bool = True) -> bytes:
    """Bytes of a packet: extensions in the one-byte form where all fit it.

    Without `mixed` an element that needs the two-byte form is left out.
    """
    elements = [e for e in packet.extensions if mixed or _fits_one_byte(*e)]
    two = not all(_fits_one_byte(*element) for element in elements)
    body = b"".join(
        (bytes((number, len(data))) if two else bytes((number << 4 | len(data) - 1,))) + data
        for number, data in elements
    )
    body += bytes(-len(body) % 4)
    header = _HEADER.pack(
        0x80 | (packet.padding > 0) << 5 | bool(elements) << 4 | len(packet.csrcs),
        packet.marker << 7 | packet.payload_type,
        packet.sequence,
        packet.timestamp,
        packet.ssrc,
    )
    csrcs = struct.pack(f"!{len(packet.csrcs)}I", *packet.csrcs)
    if elements:
        body = struct.pack("!HH", _TWO_BYTE if two else _ONE_BYTE, len(body) // 4) + body
    padding = bytes(packet.padding - 1) + bytes((packet.padding,)) if packet.padding else b""
    return header + csrcs + body + packet.payload + padding


def _fits_one_byte(number: int, data: bytes) -> bool:
    return number <= 14 and 1 <= len(data) <= 16
