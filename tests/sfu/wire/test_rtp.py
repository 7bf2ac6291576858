"""RTP as values: what is written is read again, and any bytes give a packet or one error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.wire.rtp import RtpError, RtpPacket, is_rtcp, parse_rtp, serialize_rtp

one_byte = st.tuples(st.integers(1, 14), st.binary(min_size=1, max_size=16))
two_byte = st.tuples(st.integers(1, 255), st.binary(max_size=255))
packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=100),
    marker=st.booleans(),
    csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    extensions=(st.lists(one_byte, max_size=6) | st.lists(two_byte, max_size=4)).map(tuple),
    padding=st.integers(0, 255),
)


@given(packets)
def test_what_is_written_is_read_again(packet: RtpPacket) -> None:
    assert parse_rtp(serialize_rtp(packet)) == packet


@given(st.binary(max_size=100) | packets.map(lambda packet: serialize_rtp(packet)[:50]))
def test_any_bytes_give_a_packet_or_one_error(data: bytes) -> None:
    try:
        packet = parse_rtp(data)
    except RtpError:
        return
    assert len(packet.payload) + packet.padding <= len(data) - 12


@pytest.mark.parametrize("padding", [0, 3, 255])
def test_w9_padding_is_from_one_to_the_payload(padding: int) -> None:
    with pytest.raises(RtpError, match="padding"):
        parse_rtp(bytes.fromhex("a0600001000000010000000b") + bytes((7, padding)))


def test_without_mixed_only_elements_of_the_one_byte_form_are_written() -> None:
    packet = RtpPacket(96, 1, 2, 3, extensions=((1, b"a"), (15, b"b"), (2, b""), (3, bytes(17))))
    assert parse_rtp(serialize_rtp(packet, mixed=False)).extensions == ((1, b"a"),)
    assert parse_rtp(serialize_rtp(packet)).extensions == packet.extensions
    assert packet.extension(15) == b"b"
    assert packet.extension(16) is None


def test_rtcp_is_told_by_its_type() -> None:
    assert is_rtcp(b"\x80\xc8")
    assert not is_rtcp(b"\x80\x60")
    assert not is_rtcp(b"\x80")
