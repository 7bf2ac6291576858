"""RTCP as values: what is written is read again, and any bytes give packets or one error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.wire.rtcp import (
    Bye,
    Descriptions,
    FullIntra,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpError,
    RtcpPacket,
    SenderReport,
    TransportFeedback,
    Unknown,
    parse_rtcp,
    serialize_rtcp,
)

word = st.integers(0, 0xFFFFFFFF)
blocks = st.lists(
    st.builds(ReportBlock, word, st.integers(0, 255), st.integers(0, 0xFFFFFF), word, word, word, word),
    max_size=31,
).map(tuple)
names = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
packets = st.one_of(
    st.builds(SenderReport, word, st.integers(0, 2**64 - 1), word, word, word, blocks),
    st.builds(ReceiverReport, word, blocks),
    st.builds(Descriptions, st.lists(st.tuples(word, names), max_size=31).map(tuple)),
    st.builds(Bye, st.lists(word, max_size=31).map(tuple)),
    st.builds(Nack, word, word, st.lists(st.integers(0, 0xFFFF), max_size=20).map(tuple)),
    st.builds(PictureLoss, word, word),
    st.builds(FullIntra, word, st.lists(st.tuples(word, st.integers(0, 255)), max_size=5).map(tuple)),
    st.builds(Remb, word, st.integers(0, 0x3FFFF), st.lists(word, max_size=5).map(tuple)),
    st.builds(
        Unknown, st.just(207), st.integers(0, 31), st.binary(max_size=8).map(lambda b: b + bytes(-len(b) % 4))
    ),
)


@given(st.lists(packets, max_size=5))
def test_what_is_written_is_read_again(compound: list[RtcpPacket]) -> None:
    assert parse_rtcp(serialize_rtcp(compound)) == compound


def frame(form: int, kind: int, body: bytes) -> bytes:
    return bytes((0x80 | form, kind)) + (len(body) // 4).to_bytes(2, "big") + body


framed = st.builds(
    frame,
    st.integers(0, 31),
    st.integers(200, 207),
    st.binary(max_size=60).map(lambda body: body + bytes(-len(body) % 4)),
)


@given(st.binary(max_size=80) | st.lists(framed, max_size=4).map(b"".join))
def test_w15_any_bytes_give_packets_or_one_error(data: bytes) -> None:
    try:
        assert isinstance(parse_rtcp(data), list)
    except RtcpError:
        assert data


def test_a_packet_beyond_the_compound_is_refused() -> None:
    with pytest.raises(RtcpError, match="beyond"):
        parse_rtcp(bytes.fromhex("80c90002 00000001"))


def test_a_nack_names_its_mask() -> None:
    (nack,) = parse_rtcp(bytes.fromhex("81cd0003 00000001 00000002 fffe8003"))
    assert nack == Nack(1, 2, (0xFFFE, 0xFFFF, 0, 14))


def test_transport_feedback_of_every_chunk_is_read() -> None:
    """A run of two, a vector of bits and one of pairs; 250 us a tick."""
    body = "00000001 00000002 000a 0017 000010 05 2002 9000 c580 04 08 00 10 20 ff00 000000"
    data = bytes.fromhex("8fcd0008" + body.replace(" ", ""))
    (feedback,) = parse_rtcp(data)
    assert isinstance(feedback, TransportFeedback)
    assert (feedback.base, feedback.count, len(feedback.arrivals)) == (10, 5, 23)
    start = 16 * 64_000
    assert feedback.arrivals[:2] == (start + 1000, start + 3000)
    assert [i for i, at in enumerate(feedback.arrivals) if at is not None] == [0, 1, 3, 17, 18, 19]
    assert feedback.arrivals[19] == start + (4 + 8 + 0 + 16 + 32 - 256) * 250


def test_transport_feedback_is_not_written_here() -> None:
    with pytest.raises(ValueError, match="packet path"):
        serialize_rtcp([TransportFeedback(1, 2, 3, 4, ())])
