"""The compiled half against libsrtp as the judge, and its counting."""

from __future__ import annotations

import itertools
import os
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.seal import (
    MAX_PACKET_BYTES,
    MIN_PACKET_BYTES,
    Outgoing,
    SealError,
    bucket_us,
)
from tests.loadtest.line import AES_128_GCM, AES_256_GCM, SSRC, Line, receiver, rr, rtp, sender

if TYPE_CHECKING:
    from collections.abc import Iterator

PROFILES = [
    pytest.param(AES_128_GCM, 28, id="aes-128"),
    pytest.param(AES_256_GCM, 44, id="aes-256"),
]


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


@pytest.mark.parametrize(("profile", "master_bytes"), PROFILES)
def test_libsrtp_opens_what_is_sent(profile: int, master_bytes: int) -> None:
    line = Line(master_bytes)
    stream = Outgoing(line.endpoint, SSRC, 96, True, 65530, 1, b"video-0", 8)
    judge = receiver(line.out_master, profile)
    for frame in range(5):  # crosses the roll-over of the sequence number
        assert stream.send_frame(frame * 3000, 4, 1200, frame == 0) == 4
    opened = [judge.unprotect(packet) for packet in line.sent()]
    assert [struct.unpack_from("!H", p, 2)[0] for p in opened] == [(65530 + i) & 0xFFFF for i in range(20)]
    assert {len(p) for p in opened} == {1200}
    line.close()


@pytest.mark.parametrize(("profile", "master_bytes"), PROFILES)
def test_what_libsrtp_sends_is_opened(profile: int, master_bytes: int) -> None:
    line = Line(master_bytes)
    judge = sender(line.in_master, profile)
    line.feed([judge.protect(rtp(65500 + i)) for i in range(100)])
    [(ssrc, pt, received, lost, *_)] = line.endpoint.stream_stats()
    assert (ssrc, pt, received, lost) == (SSRC, 96, 100, 0)
    assert line.swarm.totals["refused"] == 0
    line.close()


@pytest.mark.parametrize(("profile", "master_bytes"), PROFILES)
def test_rtcp_passes_libsrtp_both_ways(profile: int, master_bytes: int) -> None:
    line = Line(master_bytes)
    outward, inward = receiver(line.out_master, profile), sender(line.in_master, profile)
    for _ in range(3):
        line.endpoint.send_rtcp(rr())
    assert [outward.unprotect_rtcp(packet) for packet in line.sent()] == [rr()] * 3
    assert line.feed([inward.protect_rtcp(rr()) for _ in range(3)]) == [(line.endpoint, rr())] * 3
    line.close()


def test_a_frame_is_vp8_as_rfc_7741_writes_it(line: Line) -> None:
    stream = Outgoing(line.endpoint, SSRC, 96, True)
    judge = receiver(line.out_master)
    stream.send_frame(0, 3, 300, True)
    stream.send_frame(3000, 1, 300, False)
    first, middle, last, delta = (judge.unprotect(packet) for packet in line.sent())
    assert [p[1] >> 7 for p in (first, middle, last, delta)] == [0, 0, 1, 1]
    assert [p[12] >> 4 & 1 for p in (first, middle, last, delta)] == [1, 0, 0, 1]  # S: start of the frame
    assert first[16] & 1 == 0  # a keyframe, and its start code
    assert first[19:22] == b"\x9d\x01\x2a"
    assert delta[16] & 1 == 1
    pictures = [struct.unpack_from("!H", p, 14)[0] & 0x7FFF for p in (first, middle, last, delta)]
    assert pictures == [1, 1, 1, 2]


def test_the_first_packets_carry_the_mid(line: Line) -> None:
    stream = Outgoing(line.endpoint, SSRC, 96, True, 0, 4, b"ab", 2)
    judge = receiver(line.out_master)
    stream.send_frame(0, 3, 300)
    packets = [judge.unprotect(packet) for packet in line.sent()]
    assert [p[0] >> 4 & 1 for p in packets] == [1, 1, 0]
    assert packets[0][12:20] == b"\xbe\xde\x00\x01\x41ab\x00"


def test_loss_duplicates_and_reordering_are_told_apart(line: Line) -> None:
    judge = sender(line.in_master)
    packets = [judge.protect(rtp(1000 + i)) for i in range(10)]
    line.feed([packets[i] for i in (0, 1, 3, 2, 3, 7, 9, 9)])
    [(_, _, received, lost, duplicates, reordered, _, highest, *_)] = line.endpoint.stream_stats()
    assert (received, lost, duplicates, reordered, highest) == (6, 4, 2, 1, 1009)


def test_streams_are_counted_apart(line: Line) -> None:
    judge = sender(line.in_master)
    line.feed([judge.protect(rtp(i, ssrc=SSRC + i % 2)) for i in range(20)])
    assert sorted((s[0], s[2]) for s in line.endpoint.stream_stats()) == [(SSRC, 10), (SSRC + 1, 10)]


def test_a_damaged_packet_is_refused_and_moves_nothing(line: Line) -> None:
    judge = sender(line.in_master)
    line.feed([judge.protect(rtp(1))])
    packet = bytearray(judge.protect(rtp(2)))
    packet[3] ^= 0x40  # a jump ahead that the tag does not cover any more
    line.feed([bytes(packet), bytes(packet[:20])])
    assert line.swarm.totals["refused"] == 2
    assert line.endpoint.stream_stats()[0][7] == 1


def test_latency_is_read_from_the_stamp() -> None:
    near, far = Line(), Line()
    far.endpoint.set_keys(far.out_master, near.out_master)
    stream = Outgoing(near.endpoint, SSRC, 96, True)
    stream.send_frame(0, 4, 400)
    far.feed(near.sent())
    assert sum(far.swarm.take_latency()) == 4
    assert sum(far.swarm.take_latency()) == 0
    near.close()
    far.close()


def test_the_histogram_grows_by_a_32nd_up_to_16_seconds() -> None:
    places = [bucket_us(place) for place in range(640)]
    assert places[:33] == list(range(33))
    assert all(a < b for a, b in itertools.pairwise(places))
    assert all(b <= a * 33 / 32 for a, b in itertools.pairwise(places[32:]))
    assert places[-1] > 16e6


def test_control_datagrams_go_to_python_with_their_owner(line: Line) -> None:
    stun, dtls = b"\x01\x01" + bytes(18), b"\x16\xfe\xfd" + bytes(10)
    assert line.feed([stun, dtls]) == [(line.endpoint, stun), (line.endpoint, dtls)]
    assert line.endpoint.owner == "owner"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=0, max_size=200), max_size=20))
def test_any_bytes_at_all_are_survived(datagrams: list[bytes]) -> None:
    line = Line()
    control = line.feed(datagrams)
    totals = line.swarm.totals
    assert len(control) + totals["refused"] + totals["unknown"] == len(datagrams)
    line.close()


def test_a_closed_endpoint_sends_and_reads_nothing(line: Line) -> None:
    line.endpoint.close()
    line.endpoint.close()
    assert line.endpoint.closed
    assert line.endpoint.owner is None
    assert len(line.swarm) == 0
    assert not line.endpoint.send(b"x")
    with pytest.raises(SealError):
        Outgoing(line.endpoint, SSRC, 96, True).send_frame(0, 1, 1200)


def test_a_closed_swarm_holds_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    line = Line()
    assert len(os.listdir("/proc/self/fd")) > before
    line.close()
    line.swarm.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert line.swarm.drain() == []


@pytest.mark.parametrize("size", [MIN_PACKET_BYTES - 1, MAX_PACKET_BYTES + 1])
def test_a_frame_that_does_not_fit_is_an_error(line: Line, size: int) -> None:
    with pytest.raises(SealError, match=str(size)):
        Outgoing(line.endpoint, SSRC, 96, True).send_frame(0, 1, size)


def test_keys_of_another_length_are_an_error(line: Line) -> None:
    with pytest.raises(SealError, match="30 bytes"):
        line.endpoint.set_keys(bytes(30), bytes(30))
