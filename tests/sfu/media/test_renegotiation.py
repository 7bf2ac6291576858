"""RIDs negotiated anew, and SSRCs that move to another MID: each subscriber stays with what it took."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sfu.base.ids import Mid, Rid, Ssrc
from sfu.media.events import TrackStarted
from sfu.media.layers import LayerWish
from sfu.wire.rtcp import PictureLoss
from tests.sfu.media.peers import REPAIRED_RID, VIDEO, VIDEO_EGRESS, VP8_RTX, Node, video
from tests.sfu.media.simulcast import SIMULCAST
from tests.sfu.media.test_repair import RTX_EGRESS, RTX_ROUTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfu.media.events import EgressId, TrackId
    from tests.sfu.media.peers import Client

NAMES = "abc"


class Quiet:
    """A publisher of three layers that names their RIDs in the first packets alone, as Chromium does."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.client: Client = node.client()
        self.track: TrackId = node.media.add_track(self.client.peer, SIMULCAST)
        self.number = 0

    def send(self, names: str = NAMES, *, key: bool = False, named: bool = False, rtx: bool = False) -> None:
        """A packet of each of these layers, the layer's name at its end."""
        self.number += 1
        for name in names:
            mid, rid = ("v", name) if named else (None, None)
            payload = video(self.number, key=key).payload + name.encode()
            media = video(self.number, ssrc=0x30 + NAMES.index(name), mid=mid, rid=rid, payload=payload)
            self.client.send(media)
            if rtx:
                probe = video(
                    self.number, ssrc=media.ssrc + 0x10, mid=mid, payload=b"\0\0x", payload_type=VP8_RTX
                )
                repaired = ((REPAIRED_RID, name.encode()),) if named else ()
                self.client.send(replace(probe, extensions=(*probe.extensions, *repaired)))
        self.node.read()

    def negotiate(self, rids: Sequence[str]) -> None:
        self.node.media.update_track(self.track, replace(SIMULCAST, rids=tuple(Rid(rid) for rid in rids)))

    def asked(self) -> list[str]:
        """Layers of which a keyframe was asked for."""
        return [NAMES[p.ssrc - 0x30] for p in self.client.take_rtcp() if isinstance(p, PictureLoss)]


@pytest.fixture
def publisher(node: Node) -> Quiet:
    return Quiet(node)


def subscribed(publisher: Quiet, rid: str) -> tuple[Client, EgressId]:
    client = publisher.node.client()
    egress = publisher.node.subscribe(client, publisher.track, RTX_EGRESS, RTX_ROUTES)
    publisher.node.media.select_layer(egress, LayerWish(Rid(rid)))
    return client, egress


@pytest.mark.parametrize("rids", ["cba", "bca", "ac", "dabc"])
def test_layers_stay_with_their_rids_though_no_packet_names_them_again(publisher: Quiet, rids: str) -> None:
    node = publisher.node
    subscribers = {name: subscribed(publisher, name)[0] for name in NAMES if name in rids}
    publisher.send(key=True, named=True, rtx=True)
    publisher.send()
    publisher.negotiate(rids)
    for _ in range(30):
        publisher.send(rtx=True)
        node.advance(0.03)
    layers = {layer.rid: layer for layer in node.media.track_stats(publisher.track).layers}
    assert {name: layer.ssrc for name, layer in layers.items()} == {
        name: 0x30 + NAMES.index(name) for name in NAMES if name in rids
    }
    assert {layer.rtx_packets for layer in layers.values()} == {31}
    for name, subscriber in subscribers.items():
        packets = subscriber.take()
        assert [packet.payload[-1:].decode() for packet in packets] == [name] * 32
        assert [packet.sequence - packets[0].sequence & 0xFFFF for packet in packets] == list(range(32))


def test_a_wish_after_the_order_has_changed_is_for_the_layer_of_that_name(publisher: Quiet) -> None:
    subscriber, egress = subscribed(publisher, "a")
    publisher.send(key=True, named=True)
    publisher.negotiate("cba")
    publisher.send()
    publisher.asked()
    publisher.node.media.select_layer(egress, LayerWish(Rid("c")))
    assert publisher.asked() == ["c"]
    publisher.send(key=True)
    assert subscriber.take()[-1].payload[-1:] == b"c"
    assert publisher.node.media.egress_stats(egress).rid == "c"


def test_a_subscriber_whose_layer_is_gone_goes_on_with_another_without_a_gap(publisher: Quiet) -> None:
    subscriber, egress = subscribed(publisher, "a")
    publisher.send(key=True, named=True)
    publisher.send()
    publisher.node.advance(1)
    publisher.asked()
    publisher.negotiate("cb")
    publisher.send()
    subscriber.send([PictureLoss(9, RTX_EGRESS.ssrc)])
    publisher.node.read()
    publisher.node.advance(0.6)
    asked = publisher.asked()
    publisher.send("bc", key=True)
    publisher.send()
    packets = subscriber.take()
    wanted = publisher.node.media.egress_stats(egress).rid
    assert wanted in asked
    assert [packet.payload[-1:].decode() for packet in packets] == ["a", "a", wanted, wanted]
    assert [packet.sequence - packets[0].sequence & 0xFFFF for packet in packets] == [0, 1, 2, 3]


def test_a_layer_whose_name_comes_back_begins_at_a_keyframe_without_a_gap(publisher: Quiet) -> None:
    subscriber, _ = subscribed(publisher, "a")
    publisher.send(key=True, named=True)
    publisher.negotiate("bc")
    publisher.send("a")
    publisher.negotiate("abc")
    publisher.send("a", named=True)
    publisher.send("a", key=True)
    packets = subscriber.take()
    assert [packet.payload[-1:].decode() for packet in packets] == ["a", "a"]
    assert packets[1].sequence - packets[0].sequence & 0xFFFF == 1


# an SSRC that moves


class Moving:
    """A publisher of two sections whose one SSRC is told to be the first's, then the second's."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.client: Client = node.client()
        self.tracks = {
            mid: node.media.add_track(self.client.peer, replace(VIDEO, mid=Mid(mid))) for mid in "vw"
        }
        self.subscriber: Client = node.client()
        node.subscribe(self.subscriber, self.tracks["v"])
        self.send("v", 1, key=True)
        self.send("v", 2)
        self.first = self.subscriber.take()[0].sequence
        self.client.take_rtcp()

    def send(self, mid: str, *numbers: int, key: bool = False) -> None:
        self.client.send(*(video(number, mid=mid, key=key) for number in numbers))
        self.node.read()

    def asked(self) -> int:
        return sum(isinstance(packet, PictureLoss) for packet in self.client.take_rtcp())


def test_a_subscriber_of_the_track_that_an_ssrc_has_left_asks_nothing_of_the_other(node: Node) -> None:
    scene = Moving(node)
    scene.send("w", 3)
    scene.subscriber.send([PictureLoss(9, VIDEO_EGRESS.ssrc)])
    node.read()
    node.advance(1)
    assert scene.asked() == 0
    assert scene.subscriber.take() == []


def test_an_ssrc_that_comes_back_goes_on_at_a_keyframe_without_a_gap(node: Node) -> None:
    scene = Moving(node)
    scene.send("w", 3, 4)
    scene.send("v", 5, 6)
    assert scene.subscriber.take() == []
    node.advance(0.6)
    assert scene.asked() > 0
    scene.send("v", 7, key=True)
    scene.send("v", 8)
    packets = scene.subscriber.take()
    assert [packet.payload for packet in packets] == [video(7, key=True).payload, video(8).payload]
    assert [packet.sequence - scene.first & 0xFFFF for packet in packets] == [2, 3]


def test_who_takes_the_track_that_an_ssrc_has_moved_to_gets_nothing_from_before(node: Node) -> None:
    scene = Moving(node)
    scene.send("w", 3)
    late = node.client()
    node.subscribe(late, scene.tracks["w"])
    assert late.take() == []
    scene.send("w", 4, key=True)
    assert [packet.payload for packet in late.take()] == [video(4, key=True).payload]


def test_what_came_before_a_move_to_another_mid_is_not_sent_after_it(node: Node) -> None:
    """A packet that comes late brings the SSRC to the other track, behind later ones of the track it left."""
    publisher, subscriber = node.client(), node.client()
    left, reached = (node.media.add_track(publisher.peer, replace(VIDEO, mid=Mid(mid))) for mid in "vw")
    assert left != reached
    node.subscribe(subscriber, reached)
    publisher.send(video(1, mid="v", key=True), video(2, mid="v"), video(4, mid="v"), video(5, mid="v"))
    node.read()
    node.now += 0.01
    publisher.send(video(3, mid="w", key=True))
    node.read()
    assert [packet.payload for packet in subscriber.take()] == [video(3, key=True).payload]


def test_a_request_does_not_outlive_the_number_of_its_layer(publisher: Quiet, node: Node) -> None:
    """Asked of "a" as layer 0, which is "c" from then on."""
    subscriber = node.client()
    egress = node.subscribe(subscriber, publisher.track)
    node.media.select_layer(egress, LayerWish(Rid("a")))
    publisher.send(key=True, named=True)
    node.advance(1)
    publisher.asked()
    subscriber.send([PictureLoss(9, VIDEO_EGRESS.ssrc)])
    node.read()
    assert publisher.asked() == ["a"]
    publisher.negotiate("cba")
    publisher.send("a", key=True)
    for _ in range(150):
        node.advance(0.03)
        publisher.send()
    assert "c" not in publisher.asked()
    assert node.events == [event for event in node.events if isinstance(event, TrackStarted)]


def test_ssrcs_of_an_offer_that_never_came_go_with_it(node: Node) -> None:
    publisher = node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    before = node.media.live()["sources"]
    for first in range(1, 2000, 8):
        ssrcs = tuple(Ssrc(first + number) for number in range(8))
        node.media.update_track(track, replace(VIDEO, ssrcs=ssrcs))
    assert node.media.live()["sources"] <= before + 8


def test_the_ssrcs_that_one_peer_announces_are_bounded(node: Node) -> None:
    """And media of those beyond is taken all the same."""
    publisher, subscriber = node.client(), node.client()
    tracks = [
        node.media.add_track(
            publisher.peer,
            replace(VIDEO, mid=Mid(str(mid)), ssrcs=tuple(Ssrc(1 + mid * 8 + number) for number in range(8))),
        )
        for mid in range(300)
    ]
    assert node.media.live()["sources"] == 2048
    node.subscribe(subscriber, tracks[-1])
    publisher.send(video(1, ssrc=1 + 299 * 8, mid="299", key=True))
    node.read()
    assert len(subscriber.take()) == 1
