"""Each rewriting step of the compiled path, held against plain Python on random bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfu.media.engine import probe_keyframe, probe_rewrite, probe_twcc
from sfu.wire.rtcp import TransportFeedback, parse_rtcp
from sfu.wire.rtp import RtpPacket, parse_rtp, serialize_rtp
from tests.reference.rewrite import Target, rewrite

if TYPE_CHECKING:
    from collections.abc import Sequence

VP8, VP9, H264, H265, AV1, RED = range(1, 7)

elements = st.lists(st.tuples(st.integers(1, 20), st.binary(max_size=24)), max_size=20)
packets = st.builds(
    RtpPacket,
    payload_type=st.integers(90, 100),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=60),
    marker=st.booleans(),
    csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    extensions=elements.map(tuple),
    padding=st.integers(0, 40),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A packet of which some bytes are others, cut short or not."""
    data = bytearray(serialize_rtp(draw(packets)))
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


targets = st.builds(
    Target,
    ssrc=st.integers(0, 0xFFFFFFFF),
    seq=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    types=st.dictionaries(st.integers(90, 100), st.integers(0, 127)),
    extensions=st.dictionaries(st.integers(1, 20), st.integers(1, 20)),
    mid=st.binary(min_size=1, max_size=16),
    mid_id=st.integers(0, 18),
    mixed=st.booleans(),
    red=st.booleans(),
    osn=st.none() | st.integers(0, 0xFFFF),
)


def by_the_module(data: bytes, target: Target, room: int = 2048) -> bytes | None:
    return probe_rewrite(
        data,
        ssrc=target.ssrc,
        seq=target.seq,
        timestamp=target.timestamp,
        types=target.types,
        extensions=target.extensions,
        mid=target.mid,
        mid_id=target.mid_id,
        mixed=target.mixed,
        red=target.red,
        osn=-1 if target.osn is None else target.osn,
        room=room,
    )


@given(packets.map(serialize_rtp) | damaged() | st.binary(max_size=80), targets)
def test_w9_w10_w38_a_packet_is_rewritten_as_the_reference_does(data: bytes, target: Target) -> None:
    """Only mapped extensions pass, padding is checked, version is 2, the P bit agrees with the bytes."""
    wanted = rewrite(data, target)
    got = by_the_module(data, target)
    assert got == wanted
    if got is not None:
        before, after = parse_rtp(data), parse_rtp(got)
        assert (after.marker, after.csrcs) == (before.marker, before.csrcs)
        assert after.padding == (before.padding if target.osn is None else 0)
        if target.osn is not None and not target.red:
            assert after.payload == target.osn.to_bytes(2, "big") + before.payload


@given(packets.map(serialize_rtp), targets, st.integers(0, 200))
def test_w8_a_packet_that_outgrows_its_room_is_left_out(data: bytes, target: Target, room: int) -> None:
    whole = by_the_module(data, target)
    got = by_the_module(data, target, room)
    assert got == (whole if whole is not None and len(whole) <= room else None)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 70_000)), min_size=1, max_size=300))
def test_transport_feedback_tells_of_each_arrival_once_and_to_the_tick(
    walk: Sequence[tuple[int, int]],
) -> None:
    sequence, moment = 65_000, 5_000_000
    arrivals: dict[int, int] = {}
    for step, gap in walk:
        sequence, moment = sequence + step, moment + gap
        arrivals[sequence] = moment
    recorded: list[tuple[int, int] | None] = [(number & 0xFFFF, at) for number, at in arrivals.items()]
    told: dict[int, int] = {}
    expected = min(arrivals)
    for packet in probe_twcc(recorded, 1, 2):
        (feedback,) = parse_rtcp(packet)
        assert isinstance(feedback, TransportFeedback)
        assert feedback.base == expected & 0xFFFF
        for i, at in enumerate(feedback.arrivals):
            if at is not None:
                told[expected + i] = at
        expected += len(feedback.arrivals)
        assert len(packet) <= 1200
    # a jump of more than a report's worth is a new start, so only what came after it counts
    assert told.keys() <= arrivals.keys()
    assert max(arrivals) in told
    if all(step <= 40 for step, _ in walk) and max(arrivals) - min(arrivals) < 1000:
        assert told.keys() == arrivals.keys()
    for number, at in told.items():
        assert abs(at - arrivals[number]) <= 250


@given(st.lists(st.none() | st.tuples(st.integers(0, 0xFFFF), st.integers(1, 1 << 40)), max_size=200))
@example([(0, 1), (0xFFFF, 1), None, (5000, 2), None, (0, 1 << 40)])
def test_w23_feedback_stays_within_bounds_for_any_arrivals(walk: list[tuple[int, int] | None]) -> None:
    for packet in probe_twcc(walk, 1, 2):
        (feedback,) = parse_rtcp(packet)
        assert isinstance(feedback, TransportFeedback)
        assert 1 <= len(feedback.arrivals) <= 1000
        assert any(at is not None for at in feedback.arrivals)


def test_a_late_packet_is_told_of_after_all() -> None:
    first, second = probe_twcc([(10, 1_000_000), (12, 1_001_000), None, (11, 1_002_000)], 1, 2)
    (late,) = parse_rtcp(second)
    assert isinstance(late, TransportFeedback)
    assert (late.base, late.arrivals) == (11, (1_002_000, 1_001_000))
    assert parse_rtcp(first) != parse_rtcp(second)


KEYFRAMES = {
    "vp8": (VP8, "10 10 00 00 9d 01 2a 80 02 68 01"),
    "vp8 with picture id, tl0picidx and tid": (VP8, "90 e0 81 23 05 40 10 00 00 9d 01 2a 80 02"),
    "vp9": (VP9, "88 81 23 49 83 42"),
    "vp9 with layers": (VP9, "a8 81 23 00 07 49 83"),
    "h264 idr": (H264, "65 88 84 00"),
    "h264 sps": (H264, "67 42 c0 1f"),
    "h264 stap-a": (H264, "78 00 04 67 42 c0 1f 00 02 68 ce"),
    "h264 fu-a start": (H264, "7c 85 88 84"),
    "h264 stap-b": (H264, "79 00 01 00 02 67 42"),
    "h265 idr": (H265, "26 01 af 08"),
    "h265 vps": (H265, "40 01 0c 01"),
    "h265 aggregate": (H265, "60 01 00 04 40 01 0c 01 00 03 42 01 01"),
    "h265 fragment start": (H265, "62 01 93 af 08"),
    "av1 new sequence": (AV1, "08 0a 0b 00 00 00"),
    "av1 sequence header first": (AV1, "10 0a 0b 00"),
    "av1 delimiter, then sequence header": (AV1, "00 01 10 02 08 00"),
    "vp8 in red": (RED, "60 10 10 00 00 9d 01 2a 80 02"),
}
OTHERS = {
    "vp8 interframe": (VP8, "10 11 00 00 9d 01 2a 80 02"),
    "vp8 second packet": (VP8, "00 10 00 00 9d 01 2a 80 02"),
    "vp8 second partition": (VP8, "11 10 00 00 9d 01 2a 80 02"),
    "vp8 ciphertext": (VP8, "10 10 5a 5a 5a 5a 5a 5a 5a"),
    "vp9 inter-predicted": (VP9, "c8 81 23 49"),
    "vp9 higher spatial layer": (VP9, "a8 81 23 02 07 49"),
    "vp9 continuation": (VP9, "80 81 23 49"),
    "h264 slice": (H264, "41 9a 00"),
    "h264 later slice of an idr": (H264, "65 40 84"),
    "h264 fu-a middle": (H264, "7c 05 88 84"),
    "h264 stap-a that lies about sizes": (H264, "78 ff ff 67"),
    "h265 trailing slice": (H265, "02 01 d0"),
    "h265 aggregate that lies": (H265, "60 01 ff ff 40 01"),
    "av1 continuation": (AV1, "88 0a 0b"),
    "av1 frame": (AV1, "10 32 00"),
    "av1 endless leb128": (AV1, "00 ff ff ff ff ff ff ff"),
    "red without end": (RED, "e0 00 00"),
    "red whose blocks overrun": (RED, "e0 00 03 ff 60 10"),
}


@pytest.mark.parametrize("name", KEYFRAMES)
def test_keyframes_are_known(name: str) -> None:
    codec, payload = KEYFRAMES[name]
    assert probe_keyframe(codec, bytes.fromhex(payload), {96: VP8})


@pytest.mark.parametrize("name", OTHERS)
def test_other_frames_are_no_keyframes(name: str) -> None:
    codec, payload = OTHERS[name]
    assert not probe_keyframe(codec, bytes.fromhex(payload), {96: VP8})


@given(st.integers(0, 6), st.binary(max_size=64))
def test_w12_w13_codec_parsers_are_total(codec: int, payload: bytes) -> None:
    """Any bytes, any cut of a real keyframe: an answer, and none of what lies beyond."""
    assert probe_keyframe(codec, payload, {96: VP8, 98: RED}) in (True, False)


@given(st.sampled_from(sorted(KEYFRAMES)), st.integers(0, 12))
def test_w12_w13_cut_keyframes_are_read_within_their_bytes(name: str, cut: int) -> None:
    codec, text = KEYFRAMES[name]
    payload = bytes.fromhex(text)[:cut]
    probe_keyframe(codec, payload, {96: VP8})
