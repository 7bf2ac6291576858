"""Loss and its repair in the compiled half: what is asked for, taken, sent again and given up.

libsrtp seals and opens at the other end; aiortc reads and writes the RTCP.
"""

from __future__ import annotations

import itertools
import random
import struct
import time
from typing import TYPE_CHECKING

import pytest
from aiortc.rtp import RtcpPacket, RtcpPsfbPacket, RtcpRtpfbPacket, RtpPacket, unwrap_rtx
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.counts import StreamStats
from loadtest.seal import FIRST, KEY, LAST, PADDING, Outgoing, SealError, Trace
from tests.loadtest.line import RTX_SSRC, SSRC, Line, receiver, rr, rtp, rtx, sender

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = 0x0A0B0C0D
MS = 1_000_000
FAR_FUTURE_NS = 10_000 * MS


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    line.endpoint.expect(OURS, SSRC, RTX_SSRC)
    yield line
    line.close()


def stats(line: Line, ssrc: int = SSRC) -> StreamStats:
    return next(s for s in (StreamStats(*s) for s in line.endpoint.stream_stats()) if s.ssrc == ssrc)


def asked(line: Line) -> list[RtcpRtpfbPacket | RtcpPsfbPacket]:
    """The feedback that left, opened by libsrtp and read by aiortc."""
    judge = receiver(line.out_master)
    found: list[RtcpRtpfbPacket | RtcpPsfbPacket] = []
    for packet in line.sent():
        for part in RtcpPacket.parse(judge.unprotect_rtcp(packet)):
            assert isinstance(part, RtcpRtpfbPacket | RtcpPsfbPacket)
            found.append(part)
    return found


def nack(*seqs: int, ssrc: int = SSRC) -> bytes:
    return bytes(RtcpRtpfbPacket(fmt=1, ssrc=OURS, media_ssrc=ssrc, lost=list(seqs)))


# --- the subscriber ---


def test_what_is_missing_is_asked_for_after_the_reordering_wait(line: Line) -> None:
    judge = sender(line.in_master)
    packets = [judge.protect(rtp(65530 + i)) for i in range(40)]
    line.feed(
        [p for i, p in enumerate(packets) if i not in (3, 8, 9, 30)]
    )  # over the wrap; 30 needs a second entry
    now = time.monotonic_ns()
    wait_s = line.swarm.repair(now)
    assert wait_s is not None
    assert 0 < wait_s <= 0.005
    assert line.sent() == []
    line.swarm.repair(now + 6 * MS)
    [request] = asked(line)
    assert (request.fmt, request.ssrc, request.media_ssrc) == (1, OURS, SSRC)
    assert isinstance(request, RtcpRtpfbPacket)
    assert [seq & 0xFFFF for seq in request.lost] == [65533, 2, 3, 24]


def test_what_comes_late_of_itself_is_not_asked_for(line: Line) -> None:
    judge = sender(line.in_master)
    packets = [judge.protect(rtp(i)) for i in range(4)]
    line.feed([packets[i] for i in (0, 3, 1, 2)])
    assert line.swarm.repair(time.monotonic_ns() + 50 * MS) is None
    assert line.sent() == []
    assert (stats(line).reordered, stats(line).noticed, stats(line).repaired, stats(line).lost) == (
        2,
        2,
        0,
        0,
    )


def test_rtx_repairs_and_is_counted_with_its_stream(line: Line) -> None:
    judge = sender(line.in_master)
    plain = [rtp(i) for i in range(5)]
    sealed = [judge.protect(packet) for packet in plain]
    line.feed([sealed[i] for i in (0, 1, 4)])
    line.swarm.repair(time.monotonic_ns() + 6 * MS)
    line.feed([judge.protect(rtx(7, plain[2])), judge.protect(rtx(8, plain[3]))])
    s = stats(line)
    assert (s.received, s.lost, s.noticed, s.repaired, s.octets) == (5, 0, 2, 2, 5 * 62)
    assert line.swarm.totals["rtx"] == 2
    assert line.swarm.totals["rtp"] == 5
    assert sum(line.swarm.take_answer()) == 2
    assert sum(line.swarm.take_repair()) == 2
    assert line.swarm.repair(time.monotonic_ns() + 100 * MS) is None


def test_rtx_of_what_is_there_is_a_duplicate(line: Line) -> None:
    judge = sender(line.in_master)
    plain = [rtp(i) for i in range(3)]
    line.feed([judge.protect(p) for p in plain] + [judge.protect(rtx(0, plain[1]))])
    assert stats(line).duplicates == 1
    assert stats(line).repaired == 0
    assert line.swarm.totals["rtp"] == 3


def test_rtx_without_a_payload_is_a_probe(line: Line) -> None:
    judge = sender(line.in_master)
    line.feed([judge.protect(rtp(0)), judge.protect(rtp(0, ssrc=RTX_SSRC, pt=97, payload=b""))])
    padding = bytes([0xA0, 97]) + rtp(1, ssrc=RTX_SSRC, pt=97, payload=bytes(99) + b"\x64")[2:]
    line.feed([judge.protect(padding)])
    assert line.swarm.totals["rtx_empty"] == 2
    assert line.swarm.totals["rtx"] == 0
    assert stats(line).duplicates == 0


def test_a_stream_without_rtx_is_repaired_in_place() -> None:
    line = Line()
    line.endpoint.expect(OURS, SSRC)
    judge = sender(line.in_master)
    sealed = [judge.protect(rtp(i)) for i in range(3)]
    line.feed([sealed[0], sealed[2]])
    line.swarm.repair(time.monotonic_ns() + 6 * MS)
    line.feed([sealed[1]])
    assert (stats(line).repaired, stats(line).reordered, stats(line).lost) == (1, 0, 0)
    line.close()


def test_requests_repeat_by_round_trip_and_end(line: Line) -> None:
    line.endpoint.set_rtt(0.1)
    judge = sender(line.in_master)
    sealed = [judge.protect(rtp(i)) for i in range(3)]
    line.feed([sealed[0], sealed[2]])
    now = begin = time.monotonic_ns()
    times: list[int] = []
    while (wait_s := line.swarm.repair(now)) is not None:
        if line.sent():
            times.append((now - begin) // MS)
        now += max(1, round(wait_s * 1e9))
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert 2 <= len(times) <= 10
    assert gaps[0] >= 100
    assert all(b >= a for a, b in itertools.pairwise(gaps))
    assert times[-1] <= 3_000 + 1_500
    assert (stats(line).gave_up, stats(line).lost) == (1, 1)


def test_what_is_given_up_asks_for_a_keyframe_at_a_bounded_rate(line: Line) -> None:
    judge = sender(line.in_master)
    sealed = [judge.protect(rtp(i)) for i in range(5)]
    line.feed([sealed[0], sealed[2], sealed[4]])
    line.swarm.repair(time.monotonic_ns() + FAR_FUTURE_NS)
    [pli] = asked(line)
    assert isinstance(pli, RtcpPsfbPacket)
    assert (pli.fmt, pli.media_ssrc) == (1, SSRC)
    assert line.swarm.totals["gave_up"] == 2


def test_a_gap_beyond_all_bounds_is_given_up_at_once(line: Line) -> None:
    judge = sender(line.in_master)
    line.feed([judge.protect(rtp(0)), judge.protect(rtp(20_000))])
    s = stats(line)
    assert (s.noticed, s.gave_up) == (19_999, 19_999 - 512)
    line.swarm.repair(time.monotonic_ns() + 6 * MS)
    [request] = asked(line)
    assert isinstance(request, RtcpRtpfbPacket)
    assert request.lost == list(range(20_000 - 512, 20_000))


def test_more_than_one_packet_of_requests_holds_is_asked_for_in_turn(line: Line) -> None:
    judge = sender(line.in_master)
    for part in range(0, 1024, 64):  # every other one is missing: 64 entries
        sealed = [judge.protect(rtp(part + i)) for i in range(64)]
        line.feed(sealed[::2])
    now = time.monotonic_ns() + 6 * MS
    wanted: set[int] = set()
    for _ in range(4):
        line.swarm.repair(now)
        for request in asked(line):
            assert isinstance(request, RtcpRtpfbPacket)
            wanted |= set(request.lost)
    assert wanted == set(range(1, 1023, 2))


def test_nobody_asks_for_streams_that_were_not_negotiated(line: Line) -> None:
    judge = sender(line.in_master)
    sealed = [judge.protect(rtp(i, ssrc=99)) for i in range(3)]
    line.feed([sealed[0], sealed[2]])
    assert line.swarm.repair(time.monotonic_ns() + 50 * MS) is None
    assert stats(line, 99).lost == 1


def test_a_closed_endpoint_is_asked_for_nothing_more(line: Line) -> None:
    judge = sender(line.in_master)
    sealed = [judge.protect(rtp(i)) for i in range(3)]
    line.feed([sealed[0], sealed[2]])
    line.endpoint.close()
    line.swarm.repair(time.monotonic_ns() + 50 * MS)
    assert line.swarm.repair(time.monotonic_ns() + 60 * MS) is None
    assert line.sent() == []


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=120), st.integers(0, 65435))
def test_counts_agree_with_a_set(arrivals: list[tuple[int, bool]], first: int) -> None:
    """Any order of packets, in place and by RTX: received is the set of what came, lost is what did not."""
    line = Line()
    line.endpoint.expect(OURS, SSRC, RTX_SSRC)
    judge = sender(line.in_master)
    plain = [rtp(first + i) for i in range(201)]  # over the wrap in some, but the stream begins before it
    sealed = [judge.protect(packet) for packet in plain]
    again = [judge.protect(rtx(i, packet)) for i, packet in enumerate(plain)]
    line.feed([sealed[100]])
    for number, by_rtx in arrivals:
        line.feed([again[number] if by_rtx else sealed[number]])
    came = {100} | {number for number, _ in arrivals}
    assert line.swarm.totals["refused"] == 0
    assert stats(line).received == len(came)
    assert stats(line).lost == max(came) - min(came) + 1 - len(came)
    line.close()


# --- the publisher ---


def test_a_nack_is_answered_by_rtx_as_aiortc_unwraps_it(line: Line) -> None:
    stream = Outgoing(line.endpoint, SSRC, 96, True, 65533, 4, b"ab", 2, RTX_SSRC, 97, 64)
    judge = receiver(line.out_master)
    stream.send_frame(3000, 6, 300, True)
    sent = [RtpPacket.parse(judge.unprotect(packet)) for packet in line.sent()]
    control = line.feed([sender(line.in_master).protect_rtcp(nack(65533, 65535) + nack(2))])
    assert control == []  # nothing in it for Python
    repaired = [RtpPacket.parse(judge.unprotect(packet)) for packet in line.sent()]
    assert [packet.ssrc for packet in repaired] == [RTX_SSRC] * 3
    first = repaired[0].sequence_number
    assert [packet.sequence_number for packet in repaired] == [first, first + 1, first + 2]
    unwrapped = [unwrap_rtx(packet, 96, SSRC) for packet in repaired]
    assert [bytes(p.serialize()) for p in unwrapped] == [bytes(sent[i].serialize()) for i in (0, 2, 5)]
    assert line.swarm.totals["resent"] == 3


def test_without_rtx_the_same_bytes_are_sent_again(line: Line) -> None:
    stream = Outgoing(line.endpoint, SSRC, 96, True, 10, kept=64)
    stream.send_frame(3000, 4, 300)
    first = line.sent()
    line.feed([sender(line.in_master).protect_rtcp(nack(11, 13))])
    assert line.sent() == [first[1], first[3]]


def test_a_storm_of_nacks_sends_a_packet_once(line: Line) -> None:
    stream = Outgoing(line.endpoint, SSRC, 96, True, 10, rtx_ssrc=RTX_SSRC, rtx_pt=97, kept=64)
    stream.send_frame(3000, 1, 300)
    line.sent()
    judge = sender(line.in_master)
    line.feed([judge.protect_rtcp(nack(10) * 10) for _ in range(5)])
    totals = line.swarm.totals
    assert (totals["asked"], totals["resent"]) == (50, 1)
    assert len(line.sent()) == 1


def test_what_was_never_sent_or_is_gone_is_not_sent_again(line: Line) -> None:
    stream = Outgoing(line.endpoint, SSRC, 96, True, 100, rtx_ssrc=RTX_SSRC, rtx_pt=97, kept=32)
    for frame in range(2):
        stream.send_frame(frame, 20, 300)
    line.sent()
    line.feed([sender(line.in_master).protect_rtcp(nack(99, 100, 107, 140, 200))])
    assert line.sent() == []
    assert line.swarm.totals["forgotten"] == 5


def test_a_nack_beside_a_report_is_answered_and_the_report_is_pythons(line: Line) -> None:
    Outgoing(line.endpoint, SSRC, 96, True, 100, kept=32).send_frame(0, 2, 300)
    first = line.sent()
    compound = rr() + nack(101)
    assert line.feed([sender(line.in_master).protect_rtcp(compound)]) == [(line.endpoint, compound)]
    assert line.sent() == first[1:]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120))
def test_any_rtcp_at_all_is_survived(body: bytes) -> None:
    line = Line()
    Outgoing(line.endpoint, SSRC, 96, True, 0, kept=32).send_frame(0, 4, 300)
    packet = struct.pack("!BBHI", 0x81, 205, len(body) // 4 + 1, SSRC) + body + bytes(-len(body) % 4)
    line.feed([sender(line.in_master).protect_rtcp(packet)])
    assert line.swarm.totals["rtcp"] == 1
    line.close()


# --- the link ---


def lost_places(up: float, run: float, seed: int, packets: int = 20_000) -> list[bool]:
    """Which of so many datagrams a link lost."""
    line = Line()
    line.endpoint.set_link(up, 0, run, seed)
    places: list[bool] = []
    for _ in range(packets):
        before = line.swarm.totals["dropped_up"]
        line.endpoint.send(b"\x01")
        places.append(line.swarm.totals["dropped_up"] > before)
        if len(places) % 50 == 0:
            line.sent()
    line.close()
    return places


@pytest.mark.parametrize(
    ("loss", "run", "mean_run"), [(0.1, 0, 1.11), (0.1, 4, 4), (0.02, 8, 8), (0.5, 1, 1)]
)
def test_a_link_loses_its_share_in_runs_of_its_length(loss: float, run: float, mean_run: float) -> None:
    places = lost_places(loss, run, 7)
    runs = sum(b and not a for a, b in zip([False, *places], places, strict=False))
    assert sum(places) / len(places) == pytest.approx(loss, rel=0.15)
    assert sum(places) / runs == pytest.approx(mean_run, rel=0.15)


def test_a_seed_loses_the_same_places() -> None:
    assert lost_places(0.1, 3, 1, 2000) == lost_places(0.1, 3, 1, 2000)
    assert lost_places(0.1, 3, 1, 2000) != lost_places(0.1, 3, 2, 2000)


def test_a_link_that_loses_all_lets_nothing_through(line: Line) -> None:
    line.endpoint.set_link(1, 1)
    judge = sender(line.in_master)
    assert line.endpoint.send(b"\x01")
    Outgoing(line.endpoint, SSRC, 96, True).send_frame(0, 5, 300)
    assert line.sent() == []
    assert line.feed([judge.protect(rtp(0)), b"\x01"]) == []
    assert line.swarm.totals["dropped_up"] == 6
    assert line.swarm.totals["dropped_down"] == 2
    line.endpoint.set_link(0, 0)
    assert line.endpoint.send(b"\x01")
    assert line.sent() == [b"\x01"]


@pytest.mark.parametrize(("up", "down", "run"), [(1.1, 0, 0), (0, -0.1, 0), (0.1, 0, 0.5), (0.1, 0, 2000)])
def test_a_link_that_can_not_be_is_an_error(line: Line, up: float, down: float, run: float) -> None:
    with pytest.raises(SealError, match="losses of"):
        line.endpoint.set_link(up, down, run)


# --- both, with loss between them ---


@pytest.mark.parametrize("run", [0, 3])
def test_two_endpoints_repair_what_a_lossy_link_takes(run: float) -> None:
    """10 % lost each way, requests and repairs too: all but what is still asked for is there in the end."""
    near, far = Line(), Line(reordering_s=0)
    far.endpoint.set_keys(near.in_master, near.out_master)
    far.endpoint.expect(OURS, SSRC, RTX_SSRC)
    stream = Outgoing(near.endpoint, SSRC, 96, True, 65000, rtx_ssrc=RTX_SSRC, rtx_pt=97, kept=4096)
    far.endpoint.set_link(0.1, 0.1, run, 3)
    now = time.monotonic_ns()
    for step in range(350):
        if step == 300:
            far.endpoint.set_link(0, 0)
        if step < 300:
            stream.send_frame(step * 3000, 5, 300)
        far.feed(near.sent(), now)
        now += 20 * MS
        far.swarm.repair(now)
        near.feed(far.sent(), now)
    s = stats(far)
    assert s.noticed > 50
    assert (s.repaired, s.lost, s.gave_up) == (s.noticed, 0, 0)
    assert far.swarm.totals["rtp"] == s.received > 1400
    near.close()
    far.close()


# --- traces ---


def trace() -> Trace:
    """Two frames: a keyframe of three packets, one packet of padding, a small frame."""
    return Trace(
        [
            (0, 0, 1100, FIRST | KEY),
            (10, 0, 1100, KEY),
            (20, 0, 300, KEY | LAST),
            (9_000, 0, 200, PADDING),
            (33_000, 3000, 150, FIRST | LAST),
        ],
        66_000,
    )


def test_a_trace_is_played_in_its_time_and_again(line: Line) -> None:
    stream = Outgoing(line.endpoint, SSRC, 96, True)
    judge = receiver(line.out_master)
    stream.begin(trace(), 1_000_000, 500)
    counts = [
        stream.play(1_000_000 + at) for at in (0, 15, 20, 9_000, 32_999, 33_000, 66_000, 66_019, 132_000)
    ]
    assert counts == [1, 1, 1, 1, 0, 1, 1, 1, 4]
    packets = [judge.unprotect(packet) for packet in line.sent()]
    assert [len(p) - 12 for p in packets[:5]] == [1100, 1100, 300, 200, 150]
    assert [p[1] >> 7 for p in packets[:5]] == [0, 0, 1, 0, 1]
    assert [struct.unpack_from("!I", p, 4)[0] for p in packets[:6]] == [500, 500, 500, 500, 3500, 500 + 5940]
    assert packets[0][16] & 1 == 0
    assert packets[4][16] & 1 == 1
    assert packets[3][0] == 0xA0  # padding and nothing else
    assert packets[3][-1] == 200


def test_a_keyframe_that_is_asked_for_comes_at_once(line: Line) -> None:
    stream = Outgoing(line.endpoint, SSRC, 96, True)
    judge = receiver(line.out_master)
    stream.begin(trace(), 0, 500)
    stream.play(33_000)
    before = [judge.unprotect(packet) for packet in line.sent()][-1]
    assert stream.play(34_000, True) == 1
    [keyframe] = [judge.unprotect(packet) for packet in line.sent()]
    assert keyframe[16] & 1 == 0
    assert struct.unpack_from("!I", keyframe, 4)[0] == struct.unpack_from("!I", before, 4)[0] + 3000


@pytest.mark.parametrize(
    ("packets", "text"),
    [
        ([], "0 packets"),
        ([(0, 0, 100, FIRST)], "keyframe"),
        ([(0, 0, 2000, FIRST | KEY)], "2000 bytes"),
        ([(5, 0, 100, FIRST | KEY), (4, 0, 100, 0)], "packet 1"),
        ([(0, 0, 256, PADDING)], "256 bytes"),
    ],
)
def test_a_trace_that_can_not_be_sent_is_an_error(
    packets: list[tuple[int, int, int, int]], text: str
) -> None:
    with pytest.raises(SealError, match=text):
        Trace(packets, 1000)


def test_a_recording_has_the_shape_of_what_came(line: Line) -> None:
    judge = sender(line.in_master)
    line.endpoint.record(2)
    body = bytes(random.Random(1).randbytes(40))
    line.feed([judge.protect(rtp(i, payload=body, timestamp=90 * i)) for i in range(3)])
    recorded = line.endpoint.take_record()
    assert [
        (timestamp, size, padding, marker, start) for _, timestamp, size, padding, marker, start in recorded
    ] == [
        (0, 40, 0, False, body[:16]),
        (90, 40, 0, False, body[:16]),
    ]
    assert line.endpoint.take_record() == []
