"""Loss repaired at the node: answers to subscribers' NACKs, and requests to publishers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from sfu.base.ids import PayloadType, Rid, Ssrc
from sfu.media.layers import LayerWish
from sfu.media.limits import Limits
from sfu.media.tracks import Feedback, IngressCodec, Routes
from sfu.wire.rtcp import Nack, PictureLoss, ReceiverReport, ReportBlock, SenderReport, Unknown
from sfu.wire.rtp import RtpPacket, serialize_rtp
from tests.sfu.media.peers import (
    AUDIO,
    AUDIO_EGRESS,
    AUDIO_ROUTES,
    VIDEO,
    VIDEO_EGRESS,
    VIDEO_ROUTES,
    VP8,
    VP8_RTX,
    Client,
    Node,
    audio,
    video,
)
from tests.sfu.media.simulcast import SIMULCAST

if TYPE_CHECKING:
    from sfu.media.events import EgressId, TrackId

RTX_SSRC = Ssrc(0xE0000077)
SENT_RTX = PayloadType(121)
RTX_EGRESS = replace(VIDEO_EGRESS, rtx_ssrc=RTX_SSRC)
RTX_ROUTES = Routes({VP8: PayloadType(120)}, rtx_types={PayloadType(120): SENT_RTX})
REPAIRABLE = replace(VIDEO, ssrcs=(Ssrc(0x11),), rtx_ssrcs={Ssrc(0x11): Ssrc(0x41)})
RESENDS_PER_NUMBER = 8


class Call:
    """A publisher of one track and its subscribers."""

    def __init__(self, node: Node, subscribers: int = 1, *, rtx: bool = True) -> None:
        self.node = node
        self.publisher = node.client()
        self.track: TrackId = node.media.add_track(self.publisher.peer, REPAIRABLE)
        self.subscribers = [node.client() for _ in range(subscribers)]
        egress, routes = (RTX_EGRESS, RTX_ROUTES) if rtx else (VIDEO_EGRESS, VIDEO_ROUTES)
        self.egress: list[EgressId] = [
            node.subscribe(subscriber, self.track, egress, routes) for subscriber in self.subscribers
        ]
        self.rtx_sent = 0

    @property
    def subscriber(self) -> Client:
        return self.subscribers[0]

    def publish(self, *sequences: int, key: bool = False) -> None:
        """Packets arrive at the node; the first may begin a keyframe."""
        for at, sequence in enumerate(sequences):
            self.publisher.send(video(sequence, key=key and at == 0))
        self.node.read()

    def repair(self, sequence: int) -> None:
        """The publisher answers a NACK: RTX arrives."""
        self.rtx_sent += 1
        media = video(sequence)
        self.publisher.send(
            replace(
                media,
                payload_type=VP8_RTX,
                ssrc=0x41,
                sequence=self.rtx_sent,
                payload=media.sequence.to_bytes(2, "big") + media.payload,
            )
        )
        self.node.read()

    def asked(self) -> list[tuple[int, ...]]:
        """What the publisher was asked for since the last call, a tuple for each NACK."""
        return [packet.lost for packet in self.publisher.take_rtcp() if isinstance(packet, Nack)]

    def nack(self, *sequences: int, subscriber: int = 0) -> None:
        """A subscriber misses numbers of its stream."""
        self.subscribers[subscriber].send([Nack(9, RTX_EGRESS.ssrc, sequences)])
        self.node.read()

    def counters(self, *names: str) -> tuple[int, ...]:
        counters = self.node.media.counters()
        return tuple(counters[name] for name in names)


@pytest.fixture
def call(node: Node) -> Call:
    return Call(node)


def raw(client: Client) -> list[bytes]:
    """Datagrams as they came, still sealed."""
    out: list[bytes] = []
    while True:
        try:
            out.append(client.sock.recv(2048))
        except BlockingIOError:
            return out


# answers to subscribers


def test_a_nack_is_answered_at_once_with_rtx_of_the_subscribers_own_number(call: Call) -> None:
    call.publish(1, 2, 3, key=True)
    sent = call.subscriber.take()
    call.nack(sent[1].sequence)
    (rtx,) = call.subscriber.take()
    assert (rtx.ssrc, rtx.payload_type) == (RTX_SSRC, SENT_RTX)
    assert rtx.payload == sent[1].sequence.to_bytes(2, "big") + sent[1].payload
    assert (rtx.timestamp, rtx.marker, rtx.extensions) == (
        sent[1].timestamp,
        sent[1].marker,
        sent[1].extensions,
    )
    assert call.asked() == []
    assert call.counters("nacks_in", "resent", "asked") == (1, 1, 0)


def test_rtx_counts_up_by_one_whatever_it_repeats(call: Call) -> None:
    call.publish(*range(1, 30), key=True)
    sent = call.subscriber.take()
    call.nack(*(packet.sequence for packet in sent[5:15]))
    repeated = call.subscriber.take()
    assert [packet.sequence - repeated[0].sequence for packet in repeated] == list(range(10))
    assert [packet.payload[2:] for packet in repeated] == [packet.payload for packet in sent[5:15]]


def test_padding_of_the_original_stays_behind(call: Call) -> None:
    call.publisher.send(video(1, key=True), replace(video(2), padding=17))
    call.node.read()
    sent = call.subscriber.take()
    assert sent[1].padding == 17
    call.nack(sent[1].sequence)
    (rtx,) = call.subscriber.take()
    assert (rtx.padding, rtx.payload[2:]) == (0, sent[1].payload)


def test_without_rtx_the_same_bytes_leave_again(node: Node) -> None:
    """design.md, Traps: under AEAD a plain resend must be the first send once more."""
    call = Call(node, rtx=False)
    call.publish(1, 2, 3, key=True)
    first = raw(call.subscriber)
    lost = first[1]
    call.nack(int.from_bytes(lost[2:4], "big"))
    assert raw(call.subscriber) == [lost]


def test_without_rtx_nothing_is_resent_whose_header_would_be_another_now(node: Node) -> None:
    call = Call(node, rtx=False)
    call.publish(1, 2, key=True)
    sent = call.subscriber.take()
    node.media.update_egress(call.egress[0], replace(VIDEO_EGRESS, mid_extension_id=10))
    call.nack(sent[1].sequence)
    assert call.subscriber.take() == []
    call.publish(3)
    (changed,) = raw(call.subscriber)
    call.nack(int.from_bytes(changed[2:4], "big"))
    assert raw(call.subscriber) == [changed]


def test_without_rtx_a_resend_knows_no_codec_that_was_named_after_the_first_send(
    node: Node,
) -> None:
    """Bytes that a codec tells to rewrite (picture ids, types inside RED) are those of when the packet came:
    a publisher that offers its payload type anew may not make us seal one index twice."""
    call = Call(node, rtx=False)
    numbered = b"\x90\xe0\x85\x10\x07\x05"  # X; I, L, T and K: picture id, TL0PICIDX, KEYIDX
    for at, ssrc in enumerate((0x11, 0x12)):  # the second has its numbers shifted
        packet = video(at + 1, ssrc=ssrc, key=True, timestamp=3000 * (at + 1))
        call.publisher.send(replace(packet, payload=numbered + packet.payload[1:]))
        node.read()
        node.now += 1
    *_, first = raw(call.subscriber)
    other = replace(REPAIRABLE, codecs={VP8: IngressCodec("H264", 90000, VP8_RTX)})
    node.media.update_track(call.track, other)
    call.nack(int.from_bytes(first[2:4], "big"))
    assert raw(call.subscriber) == [first]


def test_a_number_is_not_resent_again_within_a_round_trip(call: Call) -> None:
    call.publish(1, 2, key=True)
    call.node.advance(1.1)  # a sender report is out
    call.publisher.send([SenderReport(0x11, 1 << 40, 3000, 1, 1)])
    call.publish(3)
    call.node.advance(1.1)
    sent = call.subscriber.take()
    (report,) = [packet for packet in call.subscriber.take_rtcp() if isinstance(packet, SenderReport)][-1:]
    call.node.advance(0.2)
    block = ReportBlock(RTX_EGRESS.ssrc, 0, 0, 0, 0, report.ntp >> 16 & 0xFFFFFFFF, 0)
    call.subscriber.send([ReceiverReport(9, (block,))])
    call.node.read()
    rtt = call.node.media.egress_stats(call.egress[0]).rtt_s or 0
    assert rtt > 0.15
    call.publish(4)
    number = sent[-1].sequence + 1
    call.subscriber.take()
    for wait, answered in ((0.0, 1), (0.05, 0), (0.05, 0), (rtt, 1), (0.01, 0)):
        call.node.advance(wait)
        call.nack(number)
        assert len(call.subscriber.take()) == answered
    assert call.counters("nacks_refused") == (3,)


def test_a_number_is_resent_so_often_and_no_more(call: Call) -> None:
    call.publish(1, 2, key=True)
    sent = call.subscriber.take()
    for _ in range(20):
        call.node.advance(0.05)
        call.nack(sent[1].sequence)
    assert len(call.subscriber.take()) == RESENDS_PER_NUMBER


def test_w24_a_storm_of_nacks_gets_no_more_than_the_media_again(call: Call) -> None:
    """One RTCP can ask for thousands of packets; what it gets is a share of what is sent anyway."""
    packets = [video(sequence, key=sequence == 1) for sequence in range(1, 400)]
    media = [replace(packet, payload=packet.payload + bytes(1000)) for packet in packets]
    sent_bytes = resent_bytes = 0
    numbers: list[int] = []
    for at in range(0, len(media), 10):
        call.publisher.send(*media[at : at + 10])
        call.node.read()
        call.node.advance(0.03)
        packets = call.subscriber.take()
        numbers += [packet.sequence for packet in packets if packet.ssrc == RTX_EGRESS.ssrc]
        sent_bytes += sum(len(serialize_rtp(packet)) for packet in packets if packet.ssrc == RTX_EGRESS.ssrc)
        call.nack(*numbers[-290:])
        resent_bytes += sum(len(serialize_rtp(packet)) for packet in call.subscriber.take())
    assert 0 < resent_bytes <= sent_bytes
    assert call.counters("nacks_refused")[0] > 1000


def test_w24_one_compound_is_answered_with_a_bounded_number_of_packets(node: Node) -> None:
    call = Call(node)
    for start in range(1, 1500, 50):
        call.publish(*range(start, start + 50), key=start == 1)
    newest = call.subscriber.take()[-1].sequence
    wishes = b"".join(((newest - 17 * i) & 0xFFFF).to_bytes(2, "big") + b"\xff\xff" for i in range(1, 80))
    media = (9).to_bytes(4, "big") + RTX_EGRESS.ssrc.to_bytes(4, "big")
    call.subscriber.send([ReceiverReport(9, ()), Unknown(205, 1, media + wishes)])
    node.read()
    assert len(call.subscriber.take()) == 512


def test_numbers_never_sent_are_not_answered(call: Call) -> None:
    call.publish(1, 2, key=True)
    (first, _) = call.subscriber.take()
    call.nack((first.sequence - 1) & 0xFFFF, first.sequence + 2, (first.sequence + 30_000) & 0xFFFF)
    assert call.subscriber.take() == []
    assert call.asked() == []


def test_what_left_under_an_old_piece_of_the_numbering_is_found(call: Call) -> None:
    """Padding was left out between: numbers and inputs are apart by then, differently before and after."""
    sent: list[RtpPacket] = []
    for start in range(1, 60, 3):
        call.publisher.send(video(start, key=start == 1), replace(video(start + 1), payload=b"", padding=9))
        call.publish(start + 2)
        sent += call.subscriber.take()
    assert [packet.sequence - sent[0].sequence for packet in sent] == list(range(len(sent)))
    call.nack(*(packet.sequence for packet in sent[-20:]))
    assert [packet.payload[2:] for packet in call.subscriber.take()] == [
        packet.payload for packet in sent[-20:]
    ]


def test_a_nack_from_before_a_switch_of_tracks_is_not_answered_from_the_new_one(node: Node) -> None:
    call = Call(node)
    other = node.client()
    second = node.media.add_track(other.peer, REPAIRABLE)
    call.publish(1, 2, key=True)
    before = call.subscriber.take()
    node.media.switch_egress(call.egress[0], second, RTX_ROUTES)
    other.send(video(1, key=True), video(2))
    node.read()
    assert len(call.subscriber.take()) == 2
    call.nack(before[1].sequence)
    assert call.subscriber.take() == []


def test_a_cache_forgets_after_its_time_and_holds_nothing_when_its_peer_is_gone(call: Call) -> None:
    call.publish(1, 2, key=True)
    sent = call.subscriber.take()
    assert call.node.media.live()["cache_bytes"] > 0
    call.node.advance(3.5)
    assert call.node.media.live()["cache_bytes"] == 0
    call.nack(sent[1].sequence)
    assert call.subscriber.take() == []
    assert call.counters("nacks_missed") == (1,)
    call.publish(3)
    call.node.media.remove_peer(call.publisher.peer)
    assert call.node.media.live()["cache_bytes"] == 0


def test_a_full_cache_still_forwards() -> None:
    small = Node(Limits(cache=16384))
    call = Call(small)
    other = small.client()
    track = small.media.add_track(other.peer, REPAIRABLE)
    subscriber = small.client()
    small.subscribe(subscriber, track, RTX_EGRESS, RTX_ROUTES)
    call.publish(1, 2, key=True)
    other.send(video(1, key=True), video(2))
    small.read()
    assert len(subscriber.take()) == 2
    assert small.media.counters()["cache_full"] == 2
    small.close()


# requests to publishers


def test_a_gap_is_asked_for_after_the_time_of_reordering(call: Call) -> None:
    call.publish(1, 2, 4, key=True)
    assert call.asked() == []
    call.node.advance(0.006)
    assert call.asked() == [(3,)]


def test_a_gap_is_asked_for_at_once_when_three_later_packets_are_there(call: Call) -> None:
    call.publish(1, 2, 4, 5, 6, key=True)
    assert call.asked() == [(3,)]


def test_reordered_packets_are_not_asked_for(call: Call) -> None:
    call.publish(1, 3, 2, 5, 4, key=True)
    call.node.advance(1)
    assert call.asked() == []
    assert call.node.media.live()["missing"] == 0


def test_one_nack_names_all_that_is_missing(call: Call) -> None:
    call.publish(1, key=True)
    lost = (3, 5, 6, 19, 40, 41)
    call.publish(*(sequence for sequence in range(2, 50) if sequence not in lost))
    assert [number for asked in call.asked() for number in asked] == list(lost)


def test_missing_packets_over_the_wrap_are_asked_for(call: Call) -> None:
    call.publish(65_533, key=True)
    call.publish(65_534, 65_534 + 4, 65_534 + 5, 65_534 + 6)
    assert call.asked() == [(65_535, 0, 1)]


def test_two_hundred_subscribers_make_one_request(node: Node) -> None:
    """Each of them lost other packets, and all miss what the publisher's link lost."""
    call = Call(node, 200)
    for start in range(1, 400, 20):
        call.publish(*(n for n in range(start, start + 20) if n % 50 != 3), key=start == 1)
    lost = [n for n in range(1, 400) if n % 50 == 3]
    there = [n for n in range(1, 400) if n % 50 != 3]
    for at, subscriber in enumerate(call.subscribers):
        first = subscriber.take()[0].sequence
        call.nack(*((first + n - 1) & 0xFFFF for n in [*lost, there[at]]), subscriber=at)
    node.advance(0.02)
    asked = [number for numbers in call.asked() for number in numbers]
    assert sorted(asked) == lost
    assert node.media.counters()["resent"] == 200


def test_a_request_is_repeated_at_the_round_trip_with_back_off_and_ends_in_a_keyframe_request(
    call: Call,
) -> None:
    call.publish(1, key=True)
    call.publisher.take_rtcp()
    call.publish(2, 4, 5, 6)
    moments: list[float] = []
    began = call.node.now
    pli_at: float | None = None
    for _ in range(300):
        call.node.advance(0.01)
        for packet in call.publisher.take_rtcp():
            if isinstance(packet, Nack):
                moments.append(call.node.now - began)
            elif isinstance(packet, PictureLoss) and pli_at is None:
                pli_at = call.node.now - began
    steps = [after - before for before, after in pairwise(moments)]
    assert 4 <= len(moments) <= 10
    assert all(step > 0.1 for step in steps[1:])
    assert steps == sorted(steps)
    assert pli_at is not None
    assert pli_at >= moments[-1]
    assert call.counters("unrepaired") == (1,)
    assert call.node.media.live()["missing"] == 0


def test_no_keyframe_is_asked_for_what_is_older_than_the_last_one(call: Call) -> None:
    call.publish(1, 3, 4, 5, key=True)
    call.publish(6, 7, key=True)
    call.publisher.take_rtcp()
    call.node.advance(3)
    assert call.counters("unrepaired") == (1,)
    assert not [packet for packet in call.publisher.take_rtcp() if isinstance(packet, PictureLoss)]


def test_the_round_trip_is_learnt_from_repairs(call: Call) -> None:
    call.publish(1, key=True)
    for sequence in range(2, 60, 6):
        call.publish(sequence, sequence + 2, sequence + 3, sequence + 4, sequence + 5)
        call.node.advance(0.03)
        call.repair(sequence + 1)
        call.asked()
    call.publish(62, 64, 65, 66)
    assert call.asked() == [(63,)]
    call.node.advance(0.025)
    assert call.asked() == []
    call.node.advance(0.015)
    assert call.asked() == [(63,)]


def test_a_recovered_packet_goes_to_all_in_place(node: Node) -> None:
    call = Call(node, 3)
    call.publish(1, 2, 4, 5, 6, key=True)
    call.node.advance(0.01)
    call.repair(3)
    for subscriber in call.subscribers:
        packets = sorted(subscriber.take(), key=lambda packet: packet.sequence)
        assert [packet.sequence - packets[0].sequence for packet in packets] == list(range(6))
        assert [packet.payload for packet in packets] == [video(n, key=n == 1).payload for n in range(1, 7)]
        assert [packet.timestamp - packets[0].timestamp for packet in packets] == [3000 * n for n in range(6)]
        assert {packet.ssrc for packet in packets} == {RTX_EGRESS.ssrc}
    assert call.counters("repaired") == (1,)
    assert call.node.media.live()["missing"] == 0


def test_a_recovered_packet_answers_later_nacks(call: Call) -> None:
    call.publish(1, 2, 4, 5, 6, key=True)
    call.repair(3)
    packets = call.subscriber.take()
    call.nack(packets[-1].sequence)
    (rtx,) = call.subscriber.take()
    assert rtx.payload[2:] == video(3).payload


def test_an_original_that_comes_after_its_rtx_is_dropped_and_the_other_way_round(call: Call) -> None:
    call.publish(1, 2, 4, 5, 6, key=True)
    call.repair(3)
    assert len(call.subscriber.take()) == 6
    call.publish(3)
    call.repair(5)
    assert call.subscriber.take() == []
    assert call.node.drops() == {"twice": 2}


def test_rtx_ahead_of_its_media_is_dropped(call: Call) -> None:
    """It must not move what is newest: a probe repeats what it likes."""
    call.publish(1, 2, key=True)
    call.subscriber.take()
    call.repair(9)
    assert call.subscriber.take() == []
    assert call.node.drops() == {"bad_rtx": 1}
    call.publish(3)
    assert len(call.subscriber.take()) == 1


def test_rtx_of_the_ssrc_before_is_not_taken_for_a_packet_of_the_new_one(call: Call) -> None:
    """A publisher that begins anew under another SSRC may use the same numbers; its clock tells which."""
    call.publish(1, 3, key=True)
    for sequence in (1, 3):
        new = video(sequence, ssrc=0x12, timestamp=3_000_000_000 + 3000 * sequence, key=sequence == 1)
        call.publisher.send(new)
    call.node.read()
    call.subscriber.take()
    call.repair(2)
    assert call.subscriber.take() == []
    assert call.node.drops() == {"bad_rtx": 1}


def test_a_subscribers_nack_brings_the_request_forward(call: Call) -> None:
    call.publish(1, 2, 4, key=True)
    first = call.subscriber.take()[0].sequence
    assert call.asked() == []
    call.nack(first + 2)
    assert call.asked() == [(3,)]
    call.nack(first + 2)
    assert call.asked() == []


def test_a_subscribers_nack_for_what_was_given_up_asks_twice_more_while_the_cache_reaches_back_so_far(
    call: Call,
) -> None:
    call.publish(1, 2, 4, 5, 6, key=True)
    call.repair(3)  # at once: the round trip is short
    call.publish(7, 9, 10, 11)
    first = call.subscriber.take()[0].sequence
    call.node.advance(0.8)
    assert call.asked()[-10:] == [(8,)] * 10
    for _ in range(2):
        call.nack(first + 7)
        call.node.advance(0.4)
        assert call.asked() == [(8,), (8,)]
    call.node.advance(2)
    call.nack(first + 7)
    call.node.advance(0.4)
    assert call.asked() == []
    assert call.counters("unrepaired") == (3,)


def test_a_gap_too_wide_to_fill_wants_a_keyframe_and_no_nack(call: Call) -> None:
    call.publish(1, 2, key=True)
    call.publisher.take_rtcp()
    call.publish(603, 604, 605, 606)
    call.node.advance(1)
    packets = call.publisher.take_rtcp()
    assert not [packet for packet in packets if isinstance(packet, Nack)]
    assert [packet for packet in packets if isinstance(packet, PictureLoss)]


def test_who_negotiated_no_nack_is_not_asked(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, replace(VIDEO, feedback=Feedback(pli=True)))
    node.subscribe(subscriber, track, RTX_EGRESS, RTX_ROUTES)
    publisher.send(video(1, key=True), *(video(n) for n in range(3, 9)))
    node.read()
    node.advance(1)
    assert not [packet for packet in publisher.take_rtcp() if isinstance(packet, Nack)]


def test_nobody_is_asked_for_what_nobody_takes(node: Node) -> None:
    call = Call(node, 0)
    call.publish(1, 3, 4, 5, key=True)
    node.advance(1)
    assert call.asked() == []


def test_w22_forged_packets_and_refused_ones_make_no_request(call: Call) -> None:
    call.publish(1, 2, key=True)
    sealed = bytearray(call.publisher.seal(video(100)))
    sealed[-1] ^= 1
    call.publisher.send_raw(bytes(sealed))
    call.node.read()
    call.node.advance(1)
    assert call.asked() == []
    assert call.node.drops() == {"refused": 1}


def test_the_bound_of_all_requests_holds() -> None:
    small = Node(Limits(missing=3))
    call = Call(small)
    call.publish(1, key=True)
    call.publish(*range(2, 30, 2))
    assert small.media.live()["missing"] == 3
    assert small.media.counters()["missing_full"] > 0
    small.close()


def test_missing_numbers_go_with_their_track(call: Call) -> None:
    call.publish(1, 3, key=True)
    assert call.node.media.live()["missing"] == 1
    call.node.media.remove_track(call.track)
    assert call.node.media.live()["missing"] == 0
    call.node.advance(1)
    assert call.asked() == []


# a new subscriber


def test_a_late_subscriber_starts_at_a_young_keyframe_at_once(node: Node) -> None:
    call = Call(node)
    call.publish(1, 2, 3, key=True)
    call.publisher.take_rtcp()
    node.advance(0.5)
    late = node.client()
    node.subscribe(late, call.track, RTX_EGRESS, RTX_ROUTES)
    assert [packet.payload for packet in late.take()] == [video(n, key=n == 1).payload for n in (1, 2, 3)]
    call.publish(4)
    assert [packet.payload for packet in late.take()] == [video(4).payload]
    assert not [packet for packet in call.publisher.take_rtcp() if isinstance(packet, PictureLoss)]
    assert call.counters("starts_cached") == (1,)


def test_a_start_from_the_cache_brings_its_sender_report_along(call: Call) -> None:
    """Lips are in time from the first picture on."""
    call.publisher.send([SenderReport(0x11, 0xE000_0000 << 32, 90_000, 1, 1)])
    call.publish(1, 2, 3, key=True)
    late = call.node.client()
    call.node.subscribe(late, call.track, RTX_EGRESS, RTX_ROUTES)
    assert call.counters("starts_cached") == (1,)
    assert [report.ssrc for report in late.take_rtcp() if isinstance(report, SenderReport)] == [
        RTX_EGRESS.ssrc
    ]
    assert len(late.take()) == 3


@pytest.mark.parametrize("why", ["old", "gap", "off"])
def test_a_late_subscriber_asks_for_a_keyframe_when_the_cache_has_no_whole_start(why: str) -> None:
    node = Node(Limits(start_s=0 if why == "off" else 1.0))
    call = Call(node)
    call.publish(1, 2, *([4, 5] if why == "gap" else [3, 4, 5]), key=True)
    call.publisher.take_rtcp()
    node.advance(1.2 if why == "old" else 0.1)
    late = node.client()
    node.subscribe(late, call.track, RTX_EGRESS, RTX_ROUTES)
    assert late.take() == []
    node.advance(0.6)
    assert [packet for packet in call.publisher.take_rtcp() if isinstance(packet, PictureLoss)]
    node.close()


# reports


def test_a_receivers_reference_time_is_answered(call: Call) -> None:
    """RFC 3611 4.4 and 4.5: so it learns the round trip though it sends no media."""
    ntp = 0x0123456789ABCDEF
    reference = bytes((4, 0, 0, 2)) + ntp.to_bytes(8, "big")
    call.node.advance(0.3)
    call.subscriber.send([ReceiverReport(9, ()), Unknown(207, 0, (9).to_bytes(4, "big") + reference)])
    call.node.read()
    call.node.advance(1.0)
    (answer,) = [
        packet for packet in call.subscriber.take_rtcp() if isinstance(packet, Unknown) and packet.kind == 207
    ]
    assert answer.body[4:8] == bytes((5, 0, 0, 3))
    assert answer.body[8:16] == (9).to_bytes(4, "big") + (ntp >> 16 & 0xFFFFFFFF).to_bytes(4, "big")
    assert 0 < int.from_bytes(answer.body[16:20], "big") <= 65536


def test_silence_of_opus_dtx_is_no_loss(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, replace(AUDIO, feedback=Feedback(nack=True)))
    egress = node.subscribe(subscriber, track, AUDIO_EGRESS, AUDIO_ROUTES)
    for sequence in range(1, 8):
        publisher.send(replace(audio(sequence), timestamp=sequence * 19_200))
        node.read()
        node.advance(0.4)
    assert len(subscriber.take()) == 7
    assert not [packet for packet in publisher.take_rtcp() if isinstance(packet, Nack)]
    (layer,) = node.media.track_stats(track).layers
    assert (layer.lost, node.media.egress_stats(egress).lost) == (0, 0)


def test_who_repaired_what_is_told(call: Call) -> None:
    """The publisher's loss in the track, the subscriber's in the subscription."""
    call.publish(1, 2, 4, 5, 6, 10, 11, 12, 13, key=True)
    call.node.advance(0.05)
    call.repair(3)
    call.repair(3)
    newest = max(packet.sequence for packet in call.subscriber.take())
    call.nack(newest, newest - 1)
    call.nack(newest, newest - 4)
    call.node.advance(3)
    [layer] = call.node.media.track_stats(call.track).layers
    assert (layer.lost, layer.repaired, layer.unrepaired, layer.doubled) == (4, 1, 3, 1)
    assert layer.asked == sum(len(lost) for lost in call.asked()) > 4
    subscription = call.node.media.egress_stats(call.egress[0])
    assert (subscription.nacks, subscription.resent) == (4, 2)
    assert (subscription.nacks_refused, subscription.nacks_missed) == (1, 1)
    assert subscription.resent_bytes > 0
    assert call.node.media.peer_stats(call.publisher.peer).repair_rtt_s is not None


# who is asked, and for what


def test_a_layer_that_nobody_takes_is_not_repaired_nor_asked_for_keyframes(node: Node) -> None:
    """Three layers lose; RTX and keyframes for two that nobody sees would only fill a bad uplink."""
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, SIMULCAST)
    egress = node.subscribe(subscriber, track)
    node.media.select_layer(egress, LayerWish(Rid("b")))
    for frame in range(60):
        for layer, rid in enumerate("abc"):
            if frame != 20:
                publisher.send(video(frame, ssrc=0x30 + layer, rid=rid, key=frame == 0))
        node.read()
        node.advance(0.033)
    node.advance(3)  # nobody answers: given up
    packets = publisher.take_rtcp()
    assert {packet.ssrc for packet in packets if isinstance(packet, Nack)} == {0x31}
    assert {packet.ssrc for packet in packets if isinstance(packet, PictureLoss)} <= {0x31}
    assert node.media.counters()["unrepaired"] == 1


def test_a_publisher_without_rtx_is_asked_once_a_round_trip(node: Node) -> None:
    """It answers with the packet itself, late: that too is a repair, and tells the round trip."""
    codecs = {VP8: IngressCodec("VP8", 90000)}
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, replace(VIDEO, codecs=codecs)))
    publisher.send(video(0, key=True))
    node.read()
    asked: list[int] = []
    for first in range(1, 101, 5):
        lost = video(first + 1)
        publisher.send(*(video(first + n) for n in (0, 2, 3, 4)))
        node.read()
        requests = 0
        for _ in range(30):
            requests += sum(isinstance(packet, Nack) for packet in publisher.take_rtcp())
            node.advance(0.01)
        publisher.send(lost)
        node.read()
        asked.append(requests)
    assert asked[0] > 1
    assert asked[1:] == [1] * 19
    assert node.media.counters()["repaired"] == 20
    assert len(subscriber.take()) == 101


def test_w24_one_compound_is_heard_for_so_many_numbers_whatever_they_cost(node: Node) -> None:
    """4,900 numbers that the node lacks as well would each walk the list of what is missing."""
    call = Call(node)
    call.publish(*range(1, 20), *range(400, 420), key=True)
    first = call.subscriber.take()[0].sequence
    missing = [(first + n) & 0xFFFF for n in range(50, 67)]
    wire = b"".join(missing[0].to_bytes(2, "big") + b"\xff\xff" for _ in range(200))
    head = bytes((0x81, 205)) + (2 + 200).to_bytes(2, "big") + bytes(4) + RTX_EGRESS.ssrc.to_bytes(4, "big")
    call.subscriber.send(head + wire)
    node.read()
    assert call.counters("nacks_in", "nacks_missed", "nacks_refused") == (3400, 512, 3400 - 512)
