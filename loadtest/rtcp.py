"""The RTCP that a light client writes and understands (RFC 3550 6, RFC 4585 6.3.1).

Written: sender report or receiver report, each with SDES, and PLI. Understood: PLI and FIR (a keyframe is
wanted), sender reports (for the round trip in our reports), report blocks about our own streams.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from sfu.wire.rtcp import ReportBlock

SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
DESCRIPTION: Final = 202
PAYLOAD_FEEDBACK: Final = 206
PLI: Final = 1
FIR: Final = 4
NTP_EPOCH_S: Final = 2_208_988_800
_BLOCKS: Final = 31
_CNAME: Final = b"loadtest"


@dataclass(frozen=True, slots=True)
class SenderReport:
    """The sender of `ssrc` said when its clock stood where; `ntp_middle` is the middle 32 bits of 64."""

    ssrc: int
    ntp_middle: int


@dataclass(frozen=True, slots=True)
class KeyframeWanted:
    """PLI or FIR about our stream `ssrc`."""

    ssrc: int


@dataclass(frozen=True, slots=True)
class ReportOnUs:
    """What the receiver of our stream says about it."""

    block: ReportBlock


RtcpEvent = SenderReport | KeyframeWanted | ReportOnUs


def ntp(wall_s: float) -> int:
    """The 64-bit NTP timestamp of a moment given in seconds since 1970."""
    return int((wall_s + NTP_EPOCH_S) * (1 << 32)) & 0xFFFFFFFFFFFFFFFF


def pli(sender: int, media: int) -> bytes:
    """Ask for a keyframe of `media`."""
    return struct.pack("!BBHII", 0x80 | PLI, PAYLOAD_FEEDBACK, 2, sender, media)


def receiver_report(sender: int, blocks: list[ReportBlock]) -> bytes:
    """A compound packet that reports up to 31 streams."""
    blocks = blocks[:_BLOCKS]
    head = struct.pack("!BBHI", 0x80 | len(blocks), RECEIVER_REPORT, 1 + 6 * len(blocks), sender)
    return head + b"".join(map(_write_block, blocks)) + _description(sender)


def sender_report(sender: int, ntp_time: int, timestamp: int, packets: int, octets: int) -> bytes:
    """A compound packet of one stream that we send."""
    head = struct.pack("!BBHIQIII", 0x80, SENDER_REPORT, 6, sender, ntp_time, timestamp, packets, octets)
    return head + _description(sender)


def read(packet: bytes) -> list[RtcpEvent]:
    """What a compound packet tells a client; what it does not understand, or is cut short, it skips."""
    events: list[RtcpEvent] = []
    while len(packet) >= 8:
        count, kind, words, sender = struct.unpack_from("!BBHI", packet)
        part, packet = packet[: 4 + 4 * words], packet[4 + 4 * words :]
        count &= 31
        if kind == SENDER_REPORT and len(part) >= 28:
            events.append(SenderReport(sender, int.from_bytes(part[10:14], "big")))
            events += _read_blocks(part[28:], count)
        elif kind == RECEIVER_REPORT:
            events += _read_blocks(part[8:], count)
        elif kind == PAYLOAD_FEEDBACK and count == PLI and len(part) >= 12:
            events.append(KeyframeWanted(int.from_bytes(part[8:12], "big")))
        elif kind == PAYLOAD_FEEDBACK and count == FIR:
            events += [
                KeyframeWanted(int.from_bytes(part[at : at + 4], "big")) for at in range(12, len(part) - 7, 8)
            ]
    return events


def _write_block(block: ReportBlock) -> bytes:
    lost = max(-(1 << 23), min(block.lost, (1 << 23) - 1)) & 0xFFFFFF
    return struct.pack(
        "!IIIIII",
        block.ssrc,
        block.fraction_lost << 24 | lost,
        block.highest & 0xFFFFFFFF,
        block.jitter & 0xFFFFFFFF,
        block.last_sr,
        block.delay,
    )


def _read_blocks(data: bytes, count: int) -> list[RtcpEvent]:
    events: list[RtcpEvent] = []
    for at in range(0, min(24 * count, len(data) - 23), 24):
        ssrc, loss, highest, jitter, last_sr, delay = struct.unpack_from("!IIIIII", data, at)
        lost = (loss & 0xFFFFFF) - ((loss & 0x800000) << 1)
        events.append(ReportOnUs(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last_sr, delay)))
    return events


def _description(sender: int) -> bytes:
    """SDES with a CNAME alone, padded with at least one zero (RFC 3550 6.5)."""
    item = struct.pack("!IBB", sender, 1, len(_CNAME)) + _CNAME
    item += bytes(4 - len(item) % 4)
    return struct.pack("!BBH", 0x81, DESCRIPTION, len(item) // 4) + item
