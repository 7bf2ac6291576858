"""What a subscriber gets of a packet before SRTP, written down plainly (RFC 3550 5.1, RFC 8285, RFC 2198)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sfu.wire.rtp import RtpError, parse_rtp, serialize_rtp

ELEMENTS = 16
"""The packet path keeps so many header extension elements; further ones are never forwarded."""


@dataclass(frozen=True, slots=True)
class Target:
    """A subscription's side of the header."""

    ssrc: int
    seq: int
    timestamp: int
    types: dict[int, int]
    extensions: dict[int, int] = field(default_factory=dict[int, int])
    mid: bytes = b""
    mid_id: int = 0
    mixed: bool = False
    red: bool = False
    osn: int | None = None
    """As RTX of this number (RFC 4588 4): without padding."""


def rewrite(data: bytes, target: Target) -> bytes | None:
    """The packet anew, or None when it is not forwarded."""
    try:
        packet = parse_rtp(data)
    except RtpError:
        return None
    if packet.payload_type not in target.types:
        return None
    elements = [
        (target.extensions[number], value)
        for number, value in packet.extensions[:ELEMENTS]
        if number in target.extensions
    ]
    if target.mid_id:
        elements.append((target.mid_id, target.mid))
    payload = packet.payload
    if target.red:
        mapped = red_with_types(payload, target.types)
        if mapped is None:
            return None
        payload = mapped
    if target.osn is not None:
        payload = target.osn.to_bytes(2, "big") + payload
        packet = replace(packet, padding=0)
    out = replace(
        packet,
        payload_type=target.types[packet.payload_type],
        sequence=target.seq,
        timestamp=target.timestamp,
        ssrc=target.ssrc,
        extensions=tuple(elements),
        payload=payload,
    )
    whole = serialize_rtp(out, mixed=target.mixed)
    # the padding's bytes stay what they were
    return whole[: len(whole) - packet.padding] + data[len(data) - packet.padding :]


def red_blocks(payload: bytes) -> tuple[list[int], int] | None:
    """Offsets of the block headers and of the primary block, or None for what is no RED."""
    at, sizes = 0, 0
    headers: list[int] = []
    while at < len(payload):
        headers.append(at)
        if not payload[at] & 0x80:
            primary = at + 1 + sizes
            return (headers, primary) if primary <= len(payload) else None
        if at + 4 > len(payload):
            return None
        sizes += int.from_bytes(payload[at + 2 : at + 4], "big") & 0x3FF
        at += 4
    return None


def red_with_types(payload: bytes, types: dict[int, int]) -> bytes | None:
    """RED with the payload types of its blocks mapped; None for an unmapped one; what is no RED stays."""
    blocks = red_blocks(payload)
    if blocks is None:
        return payload
    out = bytearray(payload)
    for at in blocks[0]:
        if payload[at] & 0x7F not in types:
            return None
        out[at] = (payload[at] & 0x80) | types[payload[at] & 0x7F]
    return bytes(out)
