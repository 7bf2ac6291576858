"""The client's RTCP against aiortc's packet classes as the judge."""

from __future__ import annotations

from aiortc.rtp import (
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
)
from hypothesis import given
from hypothesis import strategies as st

from loadtest import rtcp
from sfu.wire.rtcp import ReportBlock

BLOCK = ReportBlock(
    ssrc=7, fraction_lost=12, lost=-3, highest=70_000, jitter=99, last_sr=0x12345678, delay=65536
)
INFO = RtcpReceiverInfo(
    ssrc=7, fraction_lost=12, packets_lost=-3, highest_sequence=70_000, jitter=99, lsr=0x12345678, dlsr=65536
)


def test_a_receiver_report_reads_as_written() -> None:
    report, description = RtcpPacket.parse(rtcp.receiver_report(1, [BLOCK]))
    assert report == RtcpRrPacket(ssrc=1, reports=[INFO])
    assert isinstance(description, RtcpSdesPacket)
    assert description.chunks[0].ssrc == 1


def test_a_sender_report_reads_as_written() -> None:
    report, _ = RtcpPacket.parse(rtcp.sender_report(1, 2 << 40, 3, 4, 5))
    info = RtcpSenderInfo(ntp_timestamp=2 << 40, rtp_timestamp=3, packet_count=4, octet_count=5)
    assert report == RtcpSrPacket(ssrc=1, sender_info=info, reports=[])


def test_a_pli_reads_as_written() -> None:
    assert RtcpPacket.parse(rtcp.pli(1, 2)) == [RtcpPsfbPacket(fmt=1, ssrc=1, media_ssrc=2)]


def test_a_compound_packet_is_understood() -> None:
    info = RtcpSenderInfo(ntp_timestamp=0x1111222233334444, rtp_timestamp=3, packet_count=4, octet_count=5)
    packet = bytes(RtcpSrPacket(ssrc=9, sender_info=info, reports=[INFO]))
    packet += bytes(RtcpPsfbPacket(fmt=1, ssrc=9, media_ssrc=21))
    fir = (22).to_bytes(4, "big") + bytes(4)
    packet += bytes(RtcpPsfbPacket(fmt=4, ssrc=9, media_ssrc=0, fci=fir))
    assert rtcp.read(packet) == [
        rtcp.SenderReport(9, 0x22223333),
        rtcp.ReportOnUs(BLOCK),
        rtcp.KeyframeWanted(21),
        rtcp.KeyframeWanted(22),
    ]


@given(st.binary(max_size=300))
def test_any_bytes_at_all_are_survived(data: bytes) -> None:
    rtcp.read(data)


def test_ntp_counts_from_1900() -> None:
    assert rtcp.ntp(0.5) == (2_208_988_800 << 32) + (1 << 31)
