"""Traces: the shape of real video, recorded from a subscription and played again by `Outgoing`.

A trace is a text file. Lines that begin with `#` say where it is from; each other line is one packet, four
numbers with commas between them: microseconds since the first, RTP timestamp since the first, payload bytes,
flags (1 begins a frame, 2 ends it, 4 of a keyframe, 8 padding alone). No picture is kept, only its shape.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadtest.seal import FIRST, KEY, LAST, PADDING, SealError, Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

Packet = tuple[int, int, int, int]
Sight = tuple[int, int, int, int, bool, bytes]

CHROMIUM: Final = Path(__file__).with_name("traces") / "chromium-vp8-360p.csv"
"""Ours: ten seconds of 1.7 Mbit/s with three keyframes of 34 packets."""

GAP_US: Final = 33_000  # from the last packet to the first again: a frame's
MOST: Final = 1200  # bytes of payload; what is longer than the clients' packets may be is cut


class TraceError(Exception):
    """The text is no trace, or nothing that could be one was recorded."""


def load(path: Path) -> Trace:
    """Read a trace. Raises TraceError."""
    return _trace(parse(path.read_text()))


def parse(text: str) -> list[Packet]:
    """The packets of a trace's text. Raises TraceError."""
    packets: list[Packet] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        try:
            at_us, timestamp, size, flags = map(int, line.split(","))
        except ValueError as error:
            raise TraceError(f"line {number} of the trace: {line[:40]!r}") from error
        packets.append((at_us, timestamp, size, flags))
    if not packets:
        raise TraceError("a trace without packets")
    return packets


def render(packets: Sequence[Packet], origin: str) -> str:
    """The text of a trace."""
    head = [f"# {line}" for line in origin.splitlines()]
    return "\n".join([*head, *(",".join(map(str, packet)) for packet in packets)]) + "\n"


def from_sights(sights: Sequence[Sight]) -> list[Packet]:
    """What `Endpoint.record` kept of VP8 (RFC 7741, RFC 6386 9.1), from its first keyframe on. Raises
    TraceError."""
    packets: list[Packet] = []
    first: tuple[int, int] | None = None
    key = False
    for at_ns, timestamp, size, padding, marker, start in sights:
        begins, is_key = (False, False) if padding == size else _vp8(start)
        if begins:
            key = is_key
        if first is None:
            if not (begins and key):
                continue
            first = (at_ns, timestamp)
        flags = PADDING if padding == size else FIRST * begins | LAST * marker | KEY * key
        shown = min(size, 255 if flags == PADDING else MOST)
        packets.append(((at_ns - first[0]) // 1000, (timestamp - first[1]) & 0xFFFFFFFF, shown, flags))
    if not packets:
        raise TraceError("no keyframe was recorded")
    return packets


def _trace(packets: list[Packet]) -> Trace:
    try:
        return Trace(packets, packets[-1][0] + GAP_US)
    except SealError as error:
        raise TraceError(str(error)) from error


def _vp8(payload: bytes) -> tuple[bool, bool]:
    """Whether a frame begins in this payload, and whether it is a keyframe."""
    if not payload or payload[0] & 0x17 != 0x10:  # S, and partition 0
        return False, False
    at = 1
    if payload[0] & 0x80 and len(payload) > 1:
        extension = payload[1]
        at = 2
        if extension & 0x80:
            at += 2 if len(payload) > at and payload[at] & 0x80 else 1
        at += (extension >> 6 & 1) + (1 if extension & 0x30 else 0)
    return True, len(payload) > at and payload[at] & 1 == 0
