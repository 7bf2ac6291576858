"""RTCP through a node on loopback: what publishers and subscribers are told, and what they say."""

from __future__ import annotations

import socket
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

from sfu.base.ids import Rid, Ssrc
from sfu.media.events import KeyframeOverdue
from sfu.media.layers import LayerWish
from sfu.media.tracks import Feedback
from sfu.net.udp import SO_TIMESTAMPNS
from sfu.wire.rtcp import (
    Bye,
    Descriptions,
    FullIntra,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    TransportFeedback,
    Unknown,
)
from tests.sfu.media.peers import (
    AUDIO,
    AUDIO_EGRESS,
    AUDIO_ROUTES,
    VIDEO,
    VIDEO_EGRESS,
    VIDEO_ROUTES,
    Client,
    Node,
    audio,
    video,
)

NTP = 0xE0000001_23456789
SECOND = 1 << 32


T = TypeVar("T")


def of_kind(packets: list[RtcpPacket], kind: type[T]) -> list[T]:
    return [packet for packet in packets if isinstance(packet, kind)]


def requests(client: Client) -> int:
    """Keyframe requests that a publisher got since the last call."""
    return len([p for p in client.take_rtcp() if isinstance(p, PictureLoss | FullIntra)])


def test_a_publisher_hears_of_loss_and_jitter_each_second(node: Node) -> None:
    publisher = node.client()
    node.media.add_track(publisher.peer, AUDIO)
    node.advance(1)
    publisher.take_rtcp()
    publisher.send(*(audio(sequence) for sequence in range(100, 200) if sequence % 4))
    node.read()
    node.advance(1)
    blocks = [block for report in of_kind(publisher.take_rtcp(), ReceiverReport) for block in report.blocks]
    assert [(block.ssrc, block.lost, block.highest, block.fraction_lost) for block in blocks] == [
        (0x22, 24, 199, 24 * 256 // 99)
    ]


def test_every_stream_of_a_publisher_of_forty_is_reported(node: Node) -> None:
    publisher = node.client()
    node.media.add_track(publisher.peer, AUDIO)
    for i in range(40):
        track = replace(VIDEO, mid=f"m{i}")
        node.media.add_track(publisher.peer, track)
        publisher.send(video(1, ssrc=0x100 + i, mid=f"m{i}"))
    node.read()
    node.advance(1.1)
    reports = of_kind(publisher.take_rtcp(), ReceiverReport)
    assert {block.ssrc for report in reports for block in report.blocks} == set(range(0x100, 0x128))


def test_transport_feedback_comes_within_100_ms_and_tells_of_all(node: Node) -> None:
    """sfu.md 4: 50 ms while media comes; the numbers span all SSRCs of the transport."""
    publisher = node.client()
    node.media.add_track(publisher.peer, VIDEO)
    node.advance(1)
    publisher.take_rtcp()
    told: list[int] = []
    for sequence in range(60):
        if sequence != 30:
            publisher.send(video(sequence, transport=65_500 + sequence))
        node.read()
        node.advance(0.01)
        for feedback in of_kind(publisher.take_rtcp(), TransportFeedback):
            assert feedback.base == (65_500 + len(told)) & 0xFFFF
            told += [at or 0 for at in feedback.arrivals]
    assert len(told) >= 50
    assert [i for i, at in enumerate(told) if at == 0] == [30]
    gaps = [late - early for early, late in pairwise(told) if early and late]
    assert all(8_000 <= gap <= 12_000 for gap in gaps)


def test_packets_that_one_call_reads_in_two_batches_arrive_in_their_order(node: Node) -> None:
    """The time that forwarding the first batch takes must not be taken off the arrival of the second."""
    node.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    publisher = node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    for _ in range(100):
        node.subscribe(node.client(), track)
    publisher.send(*(video(sequence, key=sequence == 0, transport=sequence) for sequence in range(70)))
    node.read()
    node.advance(0.1)
    (feedback,) = of_kind(publisher.take_rtcp(), TransportFeedback)
    assert len(feedback.arrivals) == 70
    arrivals = [at or 0 for at in feedback.arrivals]
    assert arrivals == sorted(arrivals)


def test_no_transport_feedback_where_it_was_not_negotiated(node: Node) -> None:
    publisher = node.client()
    node.media.add_track(publisher.peer, replace(VIDEO, feedback=Feedback(pli=True)))
    publisher.send(video(1, transport=1))
    node.read()
    node.advance(2)
    packets = publisher.take_rtcp()
    assert of_kind(packets, TransportFeedback) == []
    assert of_kind(packets, Remb) == []


def test_remb_goes_to_a_publisher_that_has_nothing_better(node: Node) -> None:
    publisher = node.client()
    node.media.add_track(publisher.peer, replace(VIDEO, feedback=Feedback(pli=True, remb=True)))
    for sequence in range(60):
        publisher.send(video(sequence))
        node.read()
        node.advance(0.05)
    rembs = of_kind(publisher.take_rtcp(), Remb)
    assert rembs
    assert all(remb.ssrcs == (0x11,) and remb.bitrate_bps > 1_000_000 for remb in rembs)


def test_a_subscribers_sender_report_keeps_the_publishers_clock(node: Node) -> None:
    """Lip sync: NTP is the publisher's, the timestamp the subscriber's, for audio and video alike."""
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    node.subscribe(subscriber, node.media.add_track(publisher.peer, AUDIO), AUDIO_EGRESS, AUDIO_ROUTES)
    publisher.send(video(1, key=True), audio(1))
    publisher.send([SenderReport(0x11, NTP, 3000, 1, 1)], [SenderReport(0x22, NTP, 960, 1, 1)])
    node.read()
    first_audio, first_video = subscriber.take()  # audio goes first
    stamps = {VIDEO_EGRESS.ssrc: first_video.timestamp, AUDIO_EGRESS.ssrc: first_audio.timestamp}
    rates = {VIDEO_EGRESS.ssrc: 90_000, AUDIO_EGRESS.ssrc: 48_000}
    packets = subscriber.take_rtcp()
    assert {report.ssrc for report in of_kind(packets, SenderReport)} == stamps.keys()
    for sequence in range(2, 12):
        node.advance(0.2)
        publisher.send(video(sequence), audio(sequence))
        node.read()
    packets += subscriber.take_rtcp()
    reports = of_kind(packets, SenderReport)
    assert len(reports) >= 4
    for report in reports:
        elapsed = (report.ntp - NTP) / SECOND
        behind = (report.timestamp - stamps[Ssrc(report.ssrc)]) & 0xFFFFFFFF
        assert abs(behind - elapsed * rates[Ssrc(report.ssrc)]) <= 2
    names = [cname for packet in of_kind(packets, Descriptions) for cname in packet.cnames]
    assert {(VIDEO_EGRESS.ssrc, "pub"), (AUDIO_EGRESS.ssrc, "pub")} <= set(names)


def test_the_first_sender_report_leaves_with_the_first_media(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    publisher.send(video(1, key=True), [SenderReport(0x11, NTP, 3000, 1, 1)])
    node.read()
    node.advance(1.5)
    node.subscribe(subscriber, track)
    publisher.send(video(2, key=True))
    node.read()
    assert len(subscriber.take()) == 1
    (report,) = of_kind(subscriber.take_rtcp(), SenderReport)
    assert (report.ssrc, report.packets) == (VIDEO_EGRESS.ssrc, 1)


def test_the_round_trip_comes_from_a_receiver_report(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    egress = node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    publisher.send(video(1, key=True), [SenderReport(0x11, NTP, 3000, 1, 1)])
    node.read()
    (report,) = of_kind(subscriber.take_rtcp(), SenderReport)
    node.advance(0.35)
    block = ReportBlock(VIDEO_EGRESS.ssrc, 64, 5, 1, 900, report.ntp >> 16 & 0xFFFFFFFF, int(0.25 * 65536))
    subscriber.send([ReceiverReport(1, (block,))])
    node.read()
    stats = node.media.egress_stats(egress)
    assert stats.rtt_s is not None
    assert abs(stats.rtt_s - 0.1) < 0.001
    assert (stats.lost, stats.fraction_lost, stats.jitter_s) == (5, 0.25, 0.01)
    assert node.media.peer_stats(subscriber.peer).rtt_s == stats.rtt_s


def test_a_report_that_names_no_report_of_ours_gives_no_round_trip(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    egress = node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    publisher.send(video(1, key=True), [SenderReport(0x11, NTP, 3000, 1, 1)])
    node.read()
    for last_sr, delay in ((0, 0), (0x12345678, 0), (0, 0xFFFFFFFF)):
        subscriber.send([ReceiverReport(1, (ReportBlock(VIDEO_EGRESS.ssrc, 0, 0, 1, 0, last_sr, delay),))])
    node.read()
    assert node.media.egress_stats(egress).rtt_s is None


def test_w25_a_flood_of_requests_makes_two_a_second(node: Node) -> None:
    publisher, track = node.client(), None
    track = node.media.add_track(publisher.peer, VIDEO)
    subscribers = [node.client() for _ in range(20)]
    egress = [node.subscribe(subscriber, track) for subscriber in subscribers]
    publisher.send(video(1, key=True))
    node.read()
    publisher.take_rtcp()
    sequence = 1
    asked = 0
    for _ in range(50):
        for subscriber in subscribers:
            subscriber.send([PictureLoss(1, VIDEO_EGRESS.ssrc)], [FullIntra(1, ((VIDEO_EGRESS.ssrc, 1),))])
        node.read()
        node.advance(0.1)
        count = requests(publisher)
        asked += count
        if count:
            sequence += 1
            publisher.send(video(sequence, key=True))
            node.read()
    assert 1 <= asked <= 11
    assert node.media.egress_stats(egress[0]).plis == 100


def test_w25_one_that_asks_without_end_is_put_off_but_served(node: Node) -> None:
    """Defer, never drop (sfu.md 4)."""
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    publisher.send(video(1, key=True))
    node.read()
    served = 0
    for sequence in range(2, 202):
        subscriber.send([PictureLoss(1, VIDEO_EGRESS.ssrc)])
        node.read()
        node.advance(0.1)
        if requests(publisher):
            served += 1
            publisher.send(video(sequence, key=True))
            node.read()
    assert 10 <= served <= 16  # five at once, then one in two seconds


def test_a_request_is_repeated_until_the_keyframe_and_then_given_up(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    node.subscribe(subscriber, track)
    publisher.send(video(1))
    node.read()
    node.advance(10)
    assert requests(publisher) == 6
    assert KeyframeOverdue(track, 3.0) in [
        replace(event, waited_s=round(event.waited_s, 1))
        for event in node.events
        if isinstance(event, KeyframeOverdue)
    ]


def test_fir_is_sent_only_where_pli_was_not_negotiated(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, replace(VIDEO, feedback=Feedback(fir=True)))
    node.subscribe(subscriber, track)
    publisher.send(video(1))
    node.read()
    node.advance(0.6)
    packets = publisher.take_rtcp()
    assert of_kind(packets, PictureLoss) == []
    assert [packet.requests for packet in of_kind(packets, FullIntra)] == [((0x11, 0),), ((0x11, 1),)]


def test_w24_nacks_and_w26_lies_about_bandwidth_are_counted_and_harm_no_one(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    egress = node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    publisher.send(video(1, key=True))
    node.read()
    publisher.take_rtcp()
    subscriber.take()
    storm = Unknown(205, 1, bytes(4) + VIDEO_EGRESS.ssrc.to_bytes(4, "big") + b"\0\0\xff\xff" * 290)
    subscriber.send([storm], [Remb(1, 0, (VIDEO_EGRESS.ssrc,))], [Nack(1, 0x99, (1, 2, 3))])
    node.read()
    node.advance(0.3)
    assert node.media.egress_stats(egress).nacks == 290 * 17
    assert subscriber.take() == []
    assert of_kind(publisher.take_rtcp(), Nack) == []
    publisher.send(video(2))
    node.read()
    assert len(subscriber.take()) == 1


def test_a_bye_ends_nothing_at_once(node: Node) -> None:
    """Browsers send BYE for streams that go on; the stall clock decides."""
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    publisher.send(video(1, key=True), [ReceiverReport(0x11), Bye((0x11,))], video(2, mid=None))
    node.read()
    assert len(subscriber.take()) == 2
    assert node.media.counters()["byes_in"] == 1


def test_feedback_about_streams_of_others_is_passed_over(node: Node) -> None:
    """W27: SSRC tables are per peer."""
    publisher, one, two = node.client(), node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    egress = node.subscribe(one, track)
    node.subscribe(two, track, replace(VIDEO_EGRESS, ssrc=Ssrc(0xE0000009)), VIDEO_ROUTES)
    publisher.send(video(1, key=True))
    node.read()
    publisher.take_rtcp()
    two.send(
        [PictureLoss(1, VIDEO_EGRESS.ssrc)],
        [ReceiverReport(1, (ReportBlock(VIDEO_EGRESS.ssrc, 255, 9, 9, 9, 9, 9),))],
    )
    node.read()
    assert requests(publisher) == 0
    assert node.media.egress_stats(egress).lost == 0


def test_each_second_the_bitrate_of_what_comes_and_of_what_leaves_is_told(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    egress = node.subscribe(subscriber, track)
    publisher.send(video(0, key=True))
    node.read()
    node.advance(1.1)
    began, started = node.media.track_stats(track).layers[0], node.media.egress_stats(egress)
    for sequence in range(1, 30):
        publisher.send(video(sequence, payload=bytes(1000)))
        node.read()
    node.advance(1)
    arrived, left = node.media.track_stats(track).layers[0], node.media.egress_stats(egress)
    assert arrived.bitrate_bps == (arrived.bytes - began.bytes) * 8 > 29 * 8000
    assert left.bitrate_bps == (left.bytes - started.bytes) * 8 > 29 * 8000
    node.advance(1)
    assert node.media.track_stats(track).layers[0].bitrate_bps == 0
    assert node.media.egress_stats(egress).bitrate_bps == 0


def test_ages_of_packets_and_keyframes_grow(node: Node) -> None:
    publisher = node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    assert node.media.track_stats(track).silent_s is None
    publisher.send(video(1))
    node.read()
    assert node.media.track_stats(track).layers[0].keyframe_age_s is None
    publisher.send(video(2, key=True))
    node.read()
    node.now += 2
    publisher.send(video(3))
    node.read()
    [layer] = node.media.track_stats(track, node.now + 0.5).layers
    assert layer.silent_s is not None
    assert layer.keyframe_age_s is not None
    assert 0.5 <= layer.silent_s < 0.6  # the kernel's time of arrival is a little before it was read
    assert 2.5 <= layer.keyframe_age_s < 2.6


def test_a_subscription_tells_the_layer_that_it_passes_on(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, replace(VIDEO, rids=(Rid("l"), Rid("h"))))
    egress = node.subscribe(subscriber, track)
    assert node.media.egress_stats(egress).rid is None
    node.media.select_layer(egress, LayerWish(Rid("h")))
    publisher.send(video(1, rid="h", ssrc=0x12, key=True))
    node.read()
    publisher.send(video(2, rid="h", ssrc=0x12, key=True))
    node.read()
    stats = node.media.egress_stats(egress)
    assert (stats.rid, stats.flowing) == ("h", True)


def test_a_packet_too_late_to_be_told_of_is_counted(node: Node) -> None:
    publisher = node.client()
    node.media.add_track(publisher.peer, VIDEO)
    for sequence in (20_000, 20_001):
        publisher.send(video(sequence, transport=sequence))
    node.read()
    node.advance(1.1)
    publisher.send(video(19_000, transport=1))
    node.read()
    assert node.media.counters()["late_twcc"] == 1
