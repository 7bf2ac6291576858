"""A subscriber of simulcast sees one stream, whatever layers it goes through."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfu.base.ids import Rid, Ssrc
from sfu.media.layers import LayerWish
from sfu.wire.rtcp import Nack, PictureLoss, SenderReport
from tests.sfu.media.peers import (
    REPAIRED_RID,
    VIDEO_EGRESS,
    VIDEO_ROUTES,
    VP8_RTX,
    Client,
    Node,
    video,
)
from tests.sfu.media.simulcast import FRAME_S, NTP, SIMULCAST, Camera, Seen, seen
from tests.sfu.media.test_repair import RTX_EGRESS, RTX_ROUTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfu.media.events import EgressId, TrackId


class Scene:
    """A camera of three layers and one subscriber of it."""

    def __init__(self, node: Node, *, seed: int = 0, repair: bool = False) -> None:
        self.node = node
        publisher = node.client()
        self.subscriber: Client = node.client()
        self.track: TrackId = node.media.add_track(publisher.peer, SIMULCAST)
        described = (RTX_EGRESS, RTX_ROUTES) if repair else (VIDEO_EGRESS, VIDEO_ROUTES)
        self.egress: EgressId = node.subscribe(self.subscriber, self.track, *described)
        self.camera = Camera(node, publisher, seed=seed)
        self.reports: list[SenderReport] = []

    def run(self, frames: int) -> list[Seen]:
        """What the subscriber gets in the time of so many frames."""
        for _ in range(frames):
            self.camera.step()
            if self.camera.frame % 30 == 1:
                self.camera.report()
        return self.take()

    def take(self) -> list[Seen]:
        """What has come since."""
        packets = [seen(packet) for packet in self.subscriber.take()]
        self.reports += [p for p in self.subscriber.take_rtcp() if isinstance(p, SenderReport)]
        return packets

    def want(self, rid: str, *, fallback: bool = False) -> None:
        self.node.media.select_layer(self.egress, LayerWish(Rid(rid), fallback=fallback))


@pytest.fixture
def scene(node: Node) -> Scene:
    return Scene(node)


def one_stream(packets: Sequence[Seen]) -> None:
    """Numbers and picture ids have no gap but those of real losses; timestamps never go back."""
    for early, late in pairwise(packets):
        same = early.layer == late.layer
        skipped = (late.source_sequence - early.source_sequence) & 0xFFFF if same else 1
        assert (late.packet.sequence - early.packet.sequence) & 0xFFFF == skipped
        frames = (late.encoded - early.encoded) & 0xFFFF if same else 1
        assert early.descriptor.picture is not None
        assert late.descriptor.picture is not None
        assert early.descriptor.tl0 is not None
        assert late.descriptor.tl0 is not None
        assert (late.descriptor.picture - early.descriptor.picture) & 0x7FFF == frames
        assert (late.descriptor.tl0 - early.descriptor.tl0) & 0xFF == frames & 0xFF
        step = (late.packet.timestamp - early.packet.timestamp) & 0xFFFFFFFF
        assert step == 0 if frames == 0 else 0 < step < 1 << 31
        if not same:
            assert late.key
            assert late.part == 0


def layers_of(packets: Sequence[Seen]) -> list[int]:
    """The layers in the order in which they were shown."""
    return [one.layer for i, one in enumerate(packets) if i == 0 or packets[i - 1].layer != one.layer]


def test_without_a_wish_the_highest_layer_is_forwarded(scene: Scene) -> None:
    packets = scene.run(120)
    one_stream(packets)
    assert packets[-1].layer == 0


def test_of_layers_that_came_before_it_none_is_kept_when_the_highest_begins(scene: Scene) -> None:
    """Chromium sends the small layers alone until it knows what its uplink bears."""
    scene.camera.layers[0].sending = scene.camera.layers[1].sending = False
    assert layers_of(scene.run(60)) == [2]
    scene.camera.layers[1].sending = True
    scene.camera.layers[1].key = True
    packets = scene.run(100)
    one_stream(packets)
    assert packets[-1].layer == 1


def test_a_wanted_layer_is_gone_to_at_its_keyframe_and_the_old_one_goes_on_until_then(scene: Scene) -> None:
    scene.run(120)
    scene.want("c")
    (request,) = [p for p in scene.camera.publisher.take_rtcp() if isinstance(p, PictureLoss)]
    assert request.ssrc == 0x32
    packets = scene.run(5)
    assert layers_of(packets) == [0]  # the request was swallowed above
    scene.camera.layers[2].key = True
    packets += scene.run(5)
    one_stream(packets)
    assert layers_of(packets) == [0, 2]


def test_a_keyframe_of_the_wanted_layer_is_asked_for_again_until_it_comes(scene: Scene) -> None:
    """W21: and again after the first tries are spent, while the old layer goes on."""
    scene.run(120)
    scene.want("c")
    asked = 0
    for _ in range(300):
        asked += sum(isinstance(p, PictureLoss) for p in scene.camera.publisher.take_rtcp())
        scene.camera.step()
    packets = scene.take()
    assert layers_of(packets) == [0]
    assert {one.frame for one in packets} == set(range(packets[0].frame, packets[0].frame + 300))
    assert asked >= 8
    assert scene.node.media.counters()["switches_blind"] == 0


def test_a_wish_taken_back_before_the_keyframe_changes_nothing(scene: Scene) -> None:
    scene.run(120)
    scene.want("c")
    scene.want("a")
    assert {p.ssrc for p in scene.camera.publisher.take_rtcp() if isinstance(p, PictureLoss)} == {0x32}
    scene.camera.layers[2].key = True
    packets = scene.run(10)
    assert layers_of(packets) == [0]
    one_stream(packets)


def test_fifty_switches_in_a_row_show_every_frame(scene: Scene) -> None:
    packets = scene.run(120)
    for i in range(50):
        scene.want("cab"[i % 3])
        packets += scene.run(18)
    one_stream(packets)
    assert layers_of(packets[-2000:]) != [0]
    shown = [one.frame for one in packets]
    assert set(shown) == set(range(packets[0].frame, packets[-1].frame + 1))


def test_timestamps_keep_to_the_time_of_capture_over_fifty_switches(scene: Scene) -> None:
    """No step in lip sync: by the sender reports, where both layers have them."""
    packets = scene.run(120)
    start = packets[-1]
    for i in range(50):
        scene.want("cab"[i % 3])
        packets = scene.run(18)
        settled = packets[-1]
        captured = (settled.frame - start.frame) * FRAME_S * 90_000
        stamped = (settled.packet.timestamp - start.packet.timestamp) & 0xFFFFFFFF
        assert abs(stamped - captured) <= 50  # a tick of rounding for each switch
    stamps = {one.frame: one.packet.timestamp for one in packets}
    for report in scene.reports[-3:]:
        reported_s = (report.ntp - (NTP << 32)) / (1 << 32)
        expected = stamps[packets[-1].frame] + (reported_s - packets[-1].frame * FRAME_S) * 90_000
        assert abs(((report.timestamp - expected) + (1 << 31)) % (1 << 32) - (1 << 31)) < 400


def test_a_keyframe_of_a_moment_that_was_shown_already_is_shown_and_time_goes_on(scene: Scene) -> None:
    """W20: the layers of one frame have one time of capture; the second to come is no step back."""
    scene.run(120)
    scene.want("c")
    packets: list[Seen] = []
    for _ in range(4):
        scene.camera.step()
        packets += scene.take()
    one_stream(packets)
    at = next(i for i, one in enumerate(packets) if one.layer == 2)
    assert packets[at].frame == packets[at - 1].frame
    assert packets[at].packet.timestamp - packets[at - 1].packet.timestamp == 1
    assert packets[at + 1].packet.timestamp - packets[at].packet.timestamp == round(FRAME_S * 90_000) - 1


@pytest.mark.parametrize("behind_s", [0.1, 0.9])
def test_w20_a_layer_that_is_behind_catches_up_without_a_step_back(scene: Scene, behind_s: float) -> None:
    scene.run(120)
    late = scene.camera.layers[2]
    late.timestamp -= round(behind_s * 90_000)  # its frames took so much longer to come
    ntp = (NTP << 32) + round(scene.camera.frame * FRAME_S * (1 << 32))
    stamp = late.stamp(scene.camera.frame * FRAME_S + behind_s)
    scene.camera.publisher.send([SenderReport(late.ssrc, ntp, stamp, 1, 1)])
    scene.node.read()
    scene.want("c")
    packets: list[Seen] = []
    for _ in range(60):
        scene.camera.step()
        packets += scene.take()
    one_stream(packets)
    assert packets[-1].layer == 2
    assert packets[-1].packet.timestamp - packets[-2].packet.timestamp == round(FRAME_S * 90_000)


def test_w20_sender_reports_that_lie_are_not_believed(scene: Scene) -> None:
    scene.run(120)
    scene.camera.publisher.send([SenderReport(0x32, 0x1234_5678_0000_0000, 5, 1, 1)])
    scene.node.read()
    scene.want("c")
    packets: list[Seen] = []
    for _ in range(10):
        scene.camera.step()
        packets += scene.take()
    one_stream(packets)
    assert layers_of(packets) == [0, 2]
    steps = [(b.packet.timestamp - a.packet.timestamp) & 0xFFFFFFFF for a, b in pairwise(packets)]
    assert max(steps) < 0.2 * 90_000


def test_subscribers_move_on_within_300_ms_when_the_top_layer_ceases(scene: Scene) -> None:
    scene.run(150)
    scene.camera.layers[0].sending = False
    packets = scene.run(12)  # 400 ms, of which the publisher takes one frame to obey
    one_stream(packets)
    assert layers_of(packets) == [1]
    assert packets[0].frame - 150 <= 9


def test_a_wish_for_a_layer_that_ceases_is_kept_until_it_is_back(scene: Scene) -> None:
    """ridNotAvailable asciibetical: the next one meanwhile."""
    scene.run(120)
    scene.want("a", fallback=True)
    scene.camera.layers[0].sending = False
    packets = scene.run(60)
    assert layers_of(packets) == [1]
    scene.camera.layers[0].sending = True
    packets += scene.run(20)
    one_stream(packets)
    assert layers_of(packets) == [1, 0]


def test_a_wish_without_fallback_waits_for_its_layer(scene: Scene) -> None:
    """ridNotAvailable none: nothing else is shown, and nothing is asked of the publisher."""
    scene.run(120)
    scene.want("a")
    scene.camera.layers[0].sending = False
    assert scene.run(60) == []
    scene.camera.layers[0].sending = True
    assert layers_of(scene.run(20)) == [0]


def test_when_all_layers_pause_none_is_left(scene: Scene) -> None:
    """A camera that is switched off ends no layer: the picture comes back as it was."""
    scene.run(120)
    keyframes = [layer.keyframes for layer in scene.camera.layers]
    scene.node.advance(5)
    packets = scene.run(30)
    one_stream(packets)
    assert layers_of(packets) == [0]
    assert [layer.keyframes for layer in scene.camera.layers] == keyframes


def test_w21_a_subscription_that_resumes_asks_for_a_keyframe(scene: Scene) -> None:
    scene.run(120)
    scene.want("c")
    scene.run(10)
    scene.node.media.pause_egress(scene.egress)
    scene.run(30)
    scene.node.media.start_egress(scene.egress)
    assert 0x32 in {p.ssrc for p in scene.camera.publisher.take_rtcp() if isinstance(p, PictureLoss)}


def test_what_left_before_switches_is_sent_again_with_the_numbers_that_it_had(node: Node) -> None:
    """Each number by the shift of its piece, as RTX, whatever was switched to since."""
    scene = Scene(node, repair=True)
    packets = scene.run(60)
    for i in range(12):
        scene.want("cab"[i % 3])
        scene.camera.layers["abc".index("cab"[i % 3])].key = True  # sooner than by request
        packets += scene.run(4)
    assert len(set(layers_of(packets[-60:]))) == 3
    for one in packets[-60:]:
        scene.subscriber.send([Nack(9, RTX_EGRESS.ssrc, (one.packet.sequence,))])
    node.read()
    again = {packet.payload[:2]: packet for packet in scene.subscriber.take()}
    for one in packets[-60:]:
        rtx = again[one.packet.sequence.to_bytes(2, "big")]
        assert rtx.payload[2:] == one.packet.payload
        assert rtx.timestamp == one.packet.timestamp


def test_a_keyframe_whose_first_packet_was_lost_is_shown_whole_when_that_is_repaired(node: Node) -> None:
    """The rest of it came before there was anything to begin with."""
    scene = Scene(node, repair=True)
    scene.run(60)
    scene.want("b")
    lost = scene.camera.step(lost=frozenset({3}))  # the first of the two packets of "b"
    assert {one.layer for one in scene.take()} == {0}
    scene.camera.repair(*lost)
    packets = scene.take()
    assert [(one.layer, one.key, one.part) for one in packets] == [(1, True, 0), (1, False, 1)]
    packets += scene.run(10)
    one_stream(packets)


def test_the_wish_holds_for_the_track_that_comes_after(node: Node) -> None:
    scene = Scene(node)
    scene.want("c")
    scene.run(30)
    other = Camera(node, node.client(), seed=5)
    track = node.media.add_track(other.publisher.peer, SIMULCAST)
    node.media.switch_egress(scene.egress, track, VIDEO_ROUTES)
    for _ in range(30):
        other.step()
    assert scene.take()[-1].layer == 2


@pytest.mark.parametrize("named", [True, False])
def test_layers_and_their_rtx_are_told_apart(node: Node, named: bool) -> None:
    """Firefox names the SSRCs in its SDP (FID); Chromium does not: RID and repaired RID tell."""
    publisher = node.client()
    hints = {Ssrc(0x30): Ssrc(0x40), Ssrc(0x31): Ssrc(0x41), Ssrc(0x32): Ssrc(0x42)}
    value = replace(SIMULCAST, ssrcs=tuple(hints), rtx_ssrcs=hints) if named else SIMULCAST
    track = node.media.add_track(publisher.peer, value)
    for i, rid in enumerate("abc"):
        publisher.send(video(1, ssrc=0x30 + i, rid=rid, key=True))
        repair = video(9, ssrc=0x40 + i, payload=b"\0\x01again", payload_type=VP8_RTX)
        publisher.send(replace(repair, extensions=(*repair.extensions, (REPAIRED_RID, rid.encode()))))
    node.read()
    layers = node.media.track_stats(track).layers
    assert [layer.rid for layer in layers] == ["a", "b", "c"]
    assert [(layer.packets, layer.rtx_packets) for layer in layers] == [(1, 1)] * 3


actions = st.lists(
    st.tuples(
        st.sampled_from([None, None, None, "a", "b", "c", "", "-a", "-b", "-c", "report"]),
        st.integers(1, 20),
        st.booleans(),
        st.frozensets(st.integers(0, 5), max_size=1),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1 << 16), actions)
def test_any_walk_through_the_layers_is_one_stream(
    seed: int, walk: Sequence[tuple[str | None, int, bool, frozenset[int]]]
) -> None:
    """Wishes, layers that cease and begin, losses, sender reports or none, layers in either order."""
    node = Node()
    try:
        scene = Scene(node, seed=seed)
        packets: list[Seen] = []
        for action, frames, reverse, lost in walk:
            if action == "report":
                scene.camera.report()
            elif action is not None and action.startswith("-"):
                layer = scene.camera.layers["abc".index(action[1])]
                layer.sending = not layer.sending
            elif action is not None:
                wish = LayerWish(Rid(action), fallback=reverse) if action else LayerWish()
                node.media.select_layer(scene.egress, wish)
            for i in range(frames):
                scene.camera.step(reverse=reverse, lost=lost if i % 4 == 0 else frozenset())
            packets += scene.take()
        one_stream(packets)
    finally:
        node.close()
