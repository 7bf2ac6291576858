"""Media through a node on loopback: binding, numbering, switching, the three second rule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from sfu.base.ids import Mid, PayloadType, Rid, Ssrc
from sfu.media.control import LimitReached, MediaError, UnknownHandle
from sfu.media.events import TrackStalled, TrackStarted
from sfu.media.limits import Limits
from sfu.media.tracks import IngressCodec, Routes
from sfu.wire.rtcp import PictureLoss
from sfu.wire.rtp import RtpPacket
from sfu.wire.srtp import SrtpProfile
from tests.reference.egress import AudioEgress
from tests.sfu.media.peers import (
    AUDIO,
    AUDIO_EGRESS,
    AUDIO_ROUTES,
    EXTENSIONS,
    OPUS,
    REPAIRED_RID,
    VIDEO,
    VIDEO_EGRESS,
    VIDEO_ROUTES,
    VP8,
    VP8_RTX,
    Node,
    audio,
    fresh_keys,
    video,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize("profile", SrtpProfile)
def test_each_profile_carries_media_from_a_publisher_to_a_subscriber(
    node: Node, profile: SrtpProfile
) -> None:
    publisher, subscriber = node.client(fresh_keys(profile)), node.client(fresh_keys(profile))
    track = node.media.add_track(publisher.peer, VIDEO)
    node.subscribe(subscriber, track)
    publisher.send(video(1, key=True), video(2))
    node.read()
    first, second = subscriber.take()
    assert (first.payload, second.payload) == (video(1, key=True).payload, video(2).payload)
    assert {packet.ssrc for packet in (first, second)} == {VIDEO_EGRESS.ssrc}
    assert {packet.payload_type for packet in (first, second)} == {120}
    assert first.extensions == ((9, b"7"),)
    assert second.sequence == first.sequence + 1
    assert (second.timestamp - first.timestamp) & 0xFFFFFFFF == 3000
    assert node.drops() == {}


def test_a_subscription_sends_nothing_before_it_is_started(node: Node) -> None:
    """sfu.md 5.3: never before the answer is applied; and a started video is asked a keyframe for."""
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    egress = node.media.add_egress(subscriber.peer, VIDEO_EGRESS, track, VIDEO_ROUTES)
    publisher.send(video(1, key=True))
    node.read()
    node.advance(1.5)  # too old to begin with
    assert subscriber.take() == []
    node.media.start_egress(egress)
    assert PictureLoss in {type(packet) for packet in publisher.take_rtcp()}
    publisher.send(video(2), video(3, key=True))
    node.read()
    assert [packet.payload for packet in subscriber.take()] == [video(3, key=True).payload]


def test_w21_every_start_of_video_asks_for_a_keyframe_and_begins_with_it(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    egress = node.subscribe(subscriber, track)
    publisher.send(video(1, key=True), video(2))
    node.read()
    before = subscriber.take()
    for start in (10, 20):
        node.media.pause_egress(egress)
        publisher.send(video(start), video(start + 1))
        node.read()
        node.advance(1)
        publisher.take_rtcp()
        node.media.start_egress(egress)
        assert PictureLoss in {type(packet) for packet in publisher.take_rtcp()}
        publisher.send(video(start + 2), video(start + 3, key=True))
        node.read()
        (resumed,) = subscriber.take()
        assert resumed.payload == video(start + 3, key=True).payload
        assert resumed.sequence == before[-1].sequence + 1
        assert (resumed.timestamp - before[-1].timestamp) & 0xFFFFFFFF < 1 << 31
        before = [resumed]


def test_video_whose_keyframes_are_ciphertext_begins_after_three_seconds(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    node.subscribe(subscriber, track)
    for sequence in range(1, 30):
        publisher.send(video(sequence, payload=b"\x10" + bytes(20)))
        node.read()
        node.advance(0.2)
    packets = subscriber.take()
    assert len(packets) == 29 - 15
    assert node.media.counters()["switches_blind"] == 1


def test_the_picture_of_a_track_that_comes_back_goes_on_in_the_same_stream(node: Node) -> None:
    """A publisher that leaves and comes back does not break the subscriber (api.md, pull)."""
    publisher, subscriber, again = node.client(), node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    egress = node.subscribe(subscriber, track)
    publisher.send(video(1, key=True), video(2))
    node.read()
    before = subscriber.take()
    node.media.switch_egress(egress, None, None)
    node.media.remove_peer(publisher.peer)
    node.advance(2.0)
    track = node.media.add_track(again.peer, VIDEO)
    node.media.switch_egress(egress, track, VIDEO_ROUTES)
    again.send(video(50_000, ssrc=0x99), video(50_001, ssrc=0x99, key=True), video(50_002, ssrc=0x99))
    node.read()
    after = subscriber.take()
    assert [packet.payload for packet in after] == [video(50_001, key=True).payload, video(50_002).payload]
    assert after[0].sequence == before[-1].sequence + 1
    step = (after[0].timestamp - before[-1].timestamp) & 0xFFFFFFFF
    assert abs(step - 2.0 * 90000) < 900


def test_a_switch_goes_on_with_the_old_track_until_the_keyframe_of_the_new(node: Node) -> None:
    one, two, subscriber = node.client(), node.client(), node.client()
    first, second = node.media.add_track(one.peer, VIDEO), node.media.add_track(two.peer, VIDEO)
    egress = node.subscribe(subscriber, first)
    one.send(video(1, key=True))
    node.read()
    node.media.switch_egress(egress, second, VIDEO_ROUTES)
    two.send(video(7000))
    one.send(video(2))
    node.read()
    two.send(video(7001, key=True))
    node.read()
    one.send(video(3))
    node.read()
    two.send(video(7002))
    node.read()
    packets = subscriber.take()
    assert [packet.payload[-4:] for packet in packets] == [
        number.to_bytes(4, "big") for number in (1, 2, 7001, 7002)
    ]
    assert [packet.sequence - packets[0].sequence for packet in packets] == [0, 1, 2, 3]


def test_sequence_numbers_go_on_over_the_wrap(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, AUDIO)
    node.subscribe(subscriber, track, AUDIO_EGRESS, AUDIO_ROUTES)
    for start in range(65_500, 65_500 + 200, 20):
        publisher.send(*(audio(start + i) for i in range(20)))
        node.read()
    packets = subscriber.take()
    assert len(packets) == 200
    assert [(packet.sequence - packets[0].sequence) & 0xFFFF for packet in packets] == list(range(200))
    assert len({(packet.timestamp - 960 * i) & 0xFFFFFFFF for i, packet in enumerate(packets)}) == 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 0xFFFF),
    st.lists(
        st.tuples(st.sampled_from([1, 1, 1, 1, 2, 3, -1, -2, -5, 1500, 3000]), st.booleans(), st.booleans()),
        min_size=1,
        max_size=120,
    ),
)
def test_random_loss_reordering_padding_and_jumps_number_as_the_reference(
    start: int, walk: Sequence[tuple[int, bool, bool]]
) -> None:
    """sfu.md 8: contiguous but for true losses, each number with one payload only."""
    node = Node()
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, AUDIO)
    node.subscribe(subscriber, track, AUDIO_EGRESS, AUDIO_ROUTES)
    number = highest = 0x10000 + start
    sent: dict[int, RtpPacket] = {}
    for step, is_padding, marker in walk:
        number = (highest + step) if step > 0 else number + step
        if number in sent or highest - number > 500 or number < 0x10000:
            continue
        highest = max(highest, number)
        packet = replace(audio(number), marker=marker)
        sent[number] = replace(packet, payload=b"", padding=30) if is_padding else packet
        publisher.send(sent[number])
    node.read()
    got = subscriber.take()
    model = AudioEgress(got[0].sequence if got else 0)
    wanted = [
        (out & 0xFFFF, packet.payload, packet.marker, packet.padding)
        for number, packet in sent.items()
        if (out := model.receive(number, packet)) is not None
    ]
    assert [(p.sequence, p.payload, p.marker, p.padding) for p in got] == wanted
    assert len({packet.sequence for packet in got}) == len(got)
    node.close()


def test_padding_alone_ends_here_and_leaves_no_gap(node: Node) -> None:
    """sfu.md 2.4, 6."""
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    node.subscribe(subscriber, track)
    publisher.send(video(1, key=True), video(2, payload=b"", padding=200), video(3), video(4, padding=9))
    node.read()
    packets = subscriber.take()
    assert [packet.sequence - packets[0].sequence for packet in packets] == [0, 1, 2]
    assert packets[2].padding == 9
    assert node.media.counters()["padding_in"] == 1


def test_a_payload_type_that_is_not_mapped_is_left_out_without_a_gap(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    dtmf = PayloadType(101)
    section = replace(AUDIO, codecs={**AUDIO.codecs, dtmf: IngressCodec("telephone-event", 8000)})
    track = node.media.add_track(publisher.peer, section)
    node.subscribe(subscriber, track, AUDIO_EGRESS, AUDIO_ROUTES)
    publisher.send(audio(1), replace(audio(2), payload_type=dtmf), audio(3))
    node.read()
    first, second = subscriber.take()
    assert second.sequence == first.sequence + 1


def test_a_mid_binds_and_an_ssrc_line_is_only_a_hint(node: Node) -> None:
    """sfu.md 5.3: by MID first; a recycled SSRC follows its MID."""
    publisher = node.client()
    one = node.media.add_track(publisher.peer, replace(VIDEO, ssrcs=(Ssrc(0x11),)))
    two = node.media.add_track(publisher.peer, replace(VIDEO, mid=Mid("w")))
    publisher.send(video(1, mid="w"))
    node.read()
    assert node.events == [TrackStarted(two, VP8)]
    publisher.send(video(2, mid=None), video(3, mid="v"))
    node.read()
    assert node.events == [TrackStarted(two, VP8), TrackStarted(one, VP8)]


def test_an_ssrc_of_the_sdp_binds_where_no_mid_comes(node: Node) -> None:
    publisher = node.client()
    plain = replace(VIDEO, extensions=replace(EXTENSIONS, mid=None))
    node.media.add_track(publisher.peer, replace(plain, mid=Mid("w"), ssrcs=(Ssrc(0x12),)))
    track = node.media.add_track(publisher.peer, replace(plain, ssrcs=(Ssrc(0x11),)))
    publisher.send(video(1, mid=None))
    node.read()
    assert node.events == [TrackStarted(track, VP8)]


def test_a_payload_type_of_one_track_alone_binds_at_last(node: Node) -> None:
    publisher = node.client()
    node.media.add_track(publisher.peer, VIDEO)
    track = node.media.add_track(publisher.peer, AUDIO)
    publisher.send(audio(1, mid=None))
    node.read()
    assert node.events == [TrackStarted(track, OPUS)]


def test_a_payload_type_of_two_tracks_binds_nothing(node: Node) -> None:
    publisher = node.client()
    node.media.add_track(publisher.peer, AUDIO)
    node.media.add_track(publisher.peer, replace(AUDIO, mid=Mid("b")))
    publisher.send(audio(1, mid=None))
    node.read()
    assert node.events == []
    assert node.drops() == {"no_track": 1}


def test_a_publisher_that_changes_its_ssrc_is_followed_at_the_next_keyframe(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    node.subscribe(subscriber, track)
    publisher.send(video(1, key=True), video(2))
    node.read()
    node.advance(1)
    publisher.send(video(9000, ssrc=0x12))
    node.read()
    publisher.send(video(9001, ssrc=0x12, key=True), video(3), video(9002, ssrc=0x12))
    node.read()
    packets = subscriber.take()
    assert [int.from_bytes(packet.payload[-4:], "big") for packet in packets] == [1, 2, 9001, 9002]
    assert [packet.sequence - packets[0].sequence for packet in packets] == [0, 1, 2, 3]
    assert PictureLoss in {type(packet) for packet in publisher.take_rtcp()}


def test_rtx_is_counted_with_its_layer_and_not_forwarded(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, replace(VIDEO, rids=(Rid("h"), Rid("l"))))
    node.subscribe(subscriber, track)
    publisher.send(video(1, rid="h", key=True))
    repaired = video(7, ssrc=0x40, payload=b"\0\x01again")
    extensions = (*repaired.extensions, (REPAIRED_RID, b"h"))
    publisher.send(replace(repaired, payload_type=VP8_RTX, extensions=extensions))
    node.read()
    assert len(subscriber.take()) == 1
    assert node.media.track_stats(track).layers[0].rtx_packets == 1


def test_w11_rtx_without_or_with_half_an_osn_is_quiet(node: Node) -> None:
    publisher = node.client()
    node.media.add_track(
        publisher.peer, replace(VIDEO, rtx_ssrcs={Ssrc(0x11): Ssrc(0x41)}, ssrcs=(Ssrc(0x11),))
    )
    for i, payload in enumerate((b"", b"\0", b"\0\1", b"\0\1x")):
        publisher.send(video(i, ssrc=0x41, mid=None, payload=payload, payload_type=VP8_RTX))
    node.read()
    assert node.drops() == {"bad_rtx": 3}
    assert node.media.counters()["rtx_in"] == 4


def test_a_silent_track_stalls_once_and_starts_again(node: Node) -> None:
    """api.md 1.6: a track ends 30 s after its last packet."""
    publisher = node.client()
    track = node.media.add_track(publisher.peer, AUDIO)
    node.advance(60)
    assert node.events == []
    publisher.send(audio(1))
    node.read()
    seen = node.media.last_packet_at(track)
    node.advance(29)
    assert node.events == [TrackStarted(track, OPUS)]
    node.advance(60)
    assert [type(event) for event in node.events] == [TrackStarted, TrackStalled]
    assert node.media.last_packet_at(track) == seen
    publisher.send(audio(2))
    node.read()
    assert node.events[-1] == TrackStarted(track, OPUS)


def test_a_jump_of_the_publisher_is_closed_up(node: Node) -> None:
    """design.md, Traps: 40,000 numbers ahead is dead for good at a receiver."""
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    node.subscribe(subscriber, track)
    publisher.send(
        video(1, key=True), video(20_000), video(20_001, key=True), video(20_002), video(45_000, key=True)
    )
    node.read()
    packets = subscriber.take()
    assert [int.from_bytes(packet.payload[-4:], "big") for packet in packets] == [1, 20_001, 20_002, 45_000]
    assert [packet.sequence - packets[0].sequence for packet in packets] == [0, 1, 2, 3]


@pytest.mark.parametrize("jump", [2_000, 32_000, 40_000, 60_000])
def test_w19_a_publisher_may_jump_any_distance(node: Node, jump: int) -> None:
    """By 40,000, packets were once taken for 25,536 old ones and nothing passed until they had caught up."""
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, AUDIO)
    node.subscribe(subscriber, track, AUDIO_EGRESS, AUDIO_ROUTES)
    publisher.send(*(audio(sequence) for sequence in (1, 2, 1 + jump, 2 + jump, 4 + jump, 3 + jump)))
    node.read()
    got = subscriber.take()
    assert [packet.payload for packet in got] == [
        audio(sequence).payload for sequence in (1, 2, 1 + jump, 2 + jump, 4 + jump, 3 + jump)
    ]
    assert [packet.sequence - got[0].sequence & 0xFFFF for packet in got] == [0, 1, 2, 3, 5, 4]
    assert node.drops() == {}


def test_w20_a_timestamp_jump_does_not_cost_the_keyframe(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    node.subscribe(subscriber, track)
    publisher.send(
        video(1, key=True), video(2, key=True, timestamp=0x80000000), video(3, key=True, timestamp=5)
    )
    node.read()
    assert len(subscriber.take()) == 3


def test_w35_handles_of_what_is_gone_are_refused_and_harm_nothing(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    egress = node.subscribe(subscriber, track)
    publisher.send(video(1, key=True))
    node.media.remove_peer(subscriber.peer)
    node.read()
    publisher.send(video(2, key=True))
    node.media.remove_track(track)
    node.read()
    replacement = node.media.add_peer()
    for call in (
        lambda: node.media.remove_peer(subscriber.peer),
        lambda: node.media.set_keys(subscriber.peer, fresh_keys()),
        lambda: node.media.start_egress(egress),
        lambda: node.media.remove_egress(egress),
        lambda: node.media.add_egress(replacement, VIDEO_EGRESS, track, VIDEO_ROUTES),
        lambda: node.media.remove_track(track),
        lambda: node.media.track_stats(track),
    ):
        with pytest.raises(UnknownHandle):
            call()
    assert subscriber.take() == []
    assert node.media.live()["egress"] == 0


def test_a_subscription_outlives_the_track_and_peers_leave_nothing(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    egress = node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    publisher.send(video(1, key=True))
    node.read()
    node.media.remove_peer(publisher.peer)
    assert not node.media.egress_stats(egress).flowing
    node.media.remove_peer(subscriber.peer)
    assert set(node.media.live().values()) == {0}
    node.advance(2)
    assert REGISTRY.get_sample_value("orchard_media_live", {"thing": "peers"}) == 0


def test_an_ssrc_subscribed_anew_goes_on_with_its_numbers(node: Node) -> None:
    """design.md, Traps: under AEAD no (key, index) pair may seal two packets."""
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    egress = node.subscribe(subscriber, track)
    publisher.send(video(1, key=True), video(2))
    node.read()
    node.media.remove_egress(egress)
    node.subscribe(subscriber, track)
    node.media.set_keys(subscriber.peer, subscriber.keys)
    publisher.send(video(3, key=True))
    node.read()
    packets = subscriber.take()
    assert [packet.payload[-4:][-1] for packet in packets] == [
        1,
        2,
        1,
        2,
        3,
    ]  # the second begins cached
    assert [packet.sequence - packets[0].sequence for packet in packets] == [0, 1, 2, 3, 4]


def test_red_names_the_subscribers_payload_types(node: Node) -> None:
    """Opus with RED: the types inside the payload are the subscriber's too."""
    publisher, subscriber = node.client(), node.client()
    red = PayloadType(63)
    track = node.media.add_track(
        publisher.peer, replace(AUDIO, codecs={**AUDIO.codecs, red: IngressCodec("red", 48000)})
    )
    routes = Routes({OPUS: PayloadType(109), red: PayloadType(110)})
    node.subscribe(subscriber, track, AUDIO_EGRESS, routes)
    payload = bytes((0x80 | OPUS, 0x0F, 0x00, 0x02, OPUS)) + b"oldnew"
    publisher.send(replace(audio(1), payload_type=red, payload=payload))
    node.read()
    (packet,) = subscriber.take()
    assert packet.payload_type == 110
    assert packet.payload == bytes((0x80 | 109, 0x0F, 0x00, 0x02, 109)) + b"oldnew"


def test_w38_names_and_numbers_of_the_publisher_never_pass(node: Node) -> None:
    """Even where a map says so: mid, rid, repaired-rid and transport-cc are the publisher's own."""
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, replace(VIDEO, rids=(Rid("h"),)))
    every = Routes({VP8: PayloadType(120)}, {number: number + 5 for number in range(1, 5)})
    node.subscribe(subscriber, track, replace(VIDEO_EGRESS, mid_extension_id=None), every)
    packet = video(1, key=True, rid="h", transport=77)
    publisher.send(replace(packet, extensions=(*packet.extensions, (13, b"private"))))
    node.read()
    (packet,) = subscriber.take()
    assert packet.extensions == ()


def test_other_routes_for_the_same_track_hold_from_the_next_packet(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    egress = node.subscribe(subscriber, track)
    publisher.send(video(1, key=True))
    node.read()
    node.media.switch_egress(egress, track, Routes({VP8: PayloadType(99)}))
    node.media.update_egress(egress, replace(VIDEO_EGRESS, mid=Mid("42"), mid_extension_id=3))
    publisher.send(video(2))
    node.read()
    first, second = subscriber.take()
    assert (first.payload_type, first.extensions) == (120, ((9, b"7"),))
    assert (second.payload_type, second.extensions) == (99, ((3, b"42"),))


def test_full_tables_say_so(node: Node) -> None:
    node.close()
    small = Node(Limits(peers=2, tracks=1, egress=1, paths=2, sources=4))
    one, two = small.client(), small.client()
    with pytest.raises(LimitReached, match="2 peers"):
        small.media.add_peer()
    with pytest.raises(LimitReached, match="2 paths"):
        small.media.allow_path(one.peer, small.dial()[1])
    track = small.media.add_track(one.peer, VIDEO)
    with pytest.raises(LimitReached, match="1 tracks"):
        small.media.add_track(one.peer, AUDIO)
    small.subscribe(two, track)
    with pytest.raises(LimitReached, match="1 subscriptions"):
        small.subscribe(two, track, AUDIO_EGRESS)
    small.close()


def test_what_can_not_be_is_said_in_our_words(node: Node) -> None:
    client = node.client()
    audio_track = node.media.add_track(client.peer, AUDIO)
    with pytest.raises(MediaError, match="own kind"):
        node.media.add_egress(client.peer, VIDEO_EGRESS, audio_track, VIDEO_ROUTES)
    with pytest.raises(MediaError, match="rids"):
        node.media.add_track(client.peer, replace(VIDEO, rids=tuple(Rid(str(i)) for i in range(9))))
    with pytest.raises(MediaError, match="a name of 1 to 16 bytes"):
        node.media.add_track(client.peer, replace(VIDEO, mid=Mid("m" * 17)))
    node.media.add_egress(client.peer, VIDEO_EGRESS, None, None)
    with pytest.raises(MediaError, match="another subscription's"):
        node.media.add_egress(client.peer, VIDEO_EGRESS, None, None)
    assert node.media.live()["egress"] == 1
    assert node.media.live()["tracks"] == 1
