"""The packet path under seeded chaos: random commands and sealed nonsense in any order.

Built with the address and undefined-behaviour sanitizers this is also what a longer hunt runs:
`chaos(seed, steps)`.
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pylibsrtp import Error

from sfu.base.ids import Mid, PayloadType, Rid, Ssrc
from sfu.media.control import Limits, MediaError
from sfu.media.layers import LayerWish
from sfu.media.tracks import ExtensionIds, Feedback, IngressCodec, IngressTrack, Kind
from sfu.wire.rtcp import Nack, PictureLoss, ReceiverReport, Remb, ReportBlock, RtcpPacket, SenderReport
from tests.sfu.media.peers import (
    AUDIO,
    AUDIO_EGRESS,
    AUDIO_ROUTES,
    EXTENSIONS,
    VIDEO,
    VIDEO_EGRESS,
    VIDEO_ROUTES,
    Client,
    Node,
    audio,
    fresh_keys,
    video,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu.media.events import EgressId, TrackId

CODECS = ("VP8", "VP9", "H264", "H265", "AV1", "red", "opus")
SMALL = Limits(
    peers=12,
    paths=30,
    tracks=24,
    egress=40,
    sources=200,
    ssrcs_per_peer=6,
    paths_per_peer=3,
    retired_per_peer=200,
)


class Chaos:
    """One run. Handles that are gone are used on purpose: they must be refused, not followed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.node = Node(SMALL)
        self.clients: list[Client] = []
        self.tracks: list[TrackId] = []
        self.egress: list[EgressId] = []
        self.sequence = 0

    def step(self) -> None:
        """One command or datagram, then time."""
        rng = self.rng
        deeds: list[Callable[[], object]] = [
            *[self.media] * 12,
            *[self.compound] * 6,
            *[self.junk] * 4,
            self.join,
            self.leave,
            self.publish,
            self.publish,
            self.unpublish,
            self.subscribe,
            self.subscribe,
            self.switch,
            self.unsubscribe,
            self.move,
            self.rekey,
        ]
        # a bound, a handle that is gone, or libsrtp on the test's own side
        with contextlib.suppress(MediaError, Error, IndexError, KeyError):
            rng.choice(deeds)()
        if rng.random() < 0.3:
            self.node.read()
        if rng.random() < 0.1:
            self.node.advance(rng.choice((0.01, 0.06, 1.1, 31.0)))
            for client in self.clients:
                client.raw.clear()
                while True:
                    try:
                        client.sock.recv(4096)
                    except BlockingIOError:
                        break

    def pick(self) -> Client:
        """Any client."""
        return self.rng.choice(self.clients)

    def join(self) -> None:
        """A new peer, as far as there is room."""
        self.clients.append(self.node.client())

    def leave(self) -> None:
        """A peer goes, with what it has; its handles stay in the lists."""
        client = self.pick()
        self.clients.remove(client)
        self.node.media.remove_peer(client.peer)

    def described(self) -> IngressTrack:
        """Any m-section."""
        rng = self.rng
        if rng.random() < 0.3:
            return replace(AUDIO, mid=Mid(f"a{rng.randrange(4)}"))
        name = rng.choice(CODECS)
        return IngressTrack(
            mid=Mid(f"v{rng.randrange(4)}"),
            kind=Kind.VIDEO,
            codecs={
                PayloadType(96): IngressCodec(name, 90000, PayloadType(97)),
                PayloadType(98): IngressCodec("red", 90000),
            },
            ssrcs=tuple(Ssrc(rng.randrange(1, 12)) for _ in range(rng.randrange(3))),
            rids=tuple(Rid(rid) for rid in "hml"[: rng.randrange(4)]),
            extensions=rng.choice(
                (EXTENSIONS, ExtensionIds(), ExtensionIds(mid=200, rid=201, transport_cc=202))
            ),
            feedback=Feedback(transport_cc=rng.random() < 0.5, remb=True, pli=rng.random() < 0.7, fir=True),
        )

    def publish(self) -> None:
        """A track, or other words for one that is there."""
        if self.tracks and self.rng.random() < 0.4:
            self.node.media.update_track(self.rng.choice(self.tracks), self.described())
        else:
            self.tracks.append(self.node.media.add_track(self.pick().peer, self.described()))

    def unpublish(self) -> None:
        """A track goes, or has gone before."""
        self.node.media.remove_track(self.rng.choice(self.tracks))

    def subscribe(self) -> None:
        """A subscription with an SSRC that may be taken."""
        rng = self.rng
        track = rng.choice([*self.tracks[-8:], None])
        egress, routes = rng.choice(((VIDEO_EGRESS, VIDEO_ROUTES), (AUDIO_EGRESS, AUDIO_ROUTES)))
        egress = replace(egress, ssrc=Ssrc(rng.randrange(1, 30)), extmap_allow_mixed=rng.random() < 0.5)
        self.egress.append(self.node.subscribe(self.pick(), track, egress, None if track is None else routes))

    def switch(self) -> None:
        """Another track, layer or state of a subscription."""
        rng = self.rng
        egress = rng.choice(self.egress)
        what = rng.randrange(4)
        if what == 0:
            track = rng.choice([*self.tracks[-8:], None])
            self.node.media.switch_egress(egress, track, None if track is None else VIDEO_ROUTES)
        elif what == 1:
            wish = LayerWish(rng.choice((None, Rid("h"), Rid("l"))), fallback=rng.random() < 0.5)
            self.node.media.select_layer(egress, wish)
        elif what == 2:
            self.node.media.pause_egress(egress)
        else:
            self.node.media.start_egress(egress)

    def unsubscribe(self) -> None:
        """A subscription goes, or has gone before."""
        self.node.media.remove_egress(self.rng.choice(self.egress))

    def move(self) -> None:
        """Paths come, go and change hands."""
        rng, media = self.rng, self.node.media
        client = self.pick()
        path = rng.choice((client.path, self.pick().path))
        rng.choice(
            (
                lambda: media.allow_path(client.peer, path),
                lambda: media.take_path(client.peer, path),
                lambda: media.select_path(client.peer, path),
                lambda: media.forget_path(path),
                lambda: media.expect_dtls(path, self.node.now),
            )
        )()

    def rekey(self) -> None:
        """A second association."""
        client = self.pick()
        client.keys = fresh_keys()
        self.node.media.set_keys(client.peer, client.keys)
        client.__post_init__()

    def media(self) -> None:
        """Sealed RTP, well formed or not."""
        rng, client = self.rng, self.pick()
        self.sequence += rng.choice((1, 1, 1, 2, 900, 1100, 40_000))
        packet = rng.choice((video, audio))(
            self.sequence, ssrc=rng.randrange(1, 14), mid=rng.choice((None, "v0", "v1", "a0", "nobody"))
        )
        payload = rng.randbytes(rng.randrange(0, 60)) if rng.random() < 0.5 else packet.payload
        extensions = packet.extensions
        if rng.random() < 0.4:
            extensions += ((rng.choice((2, 3, 4, 7, 201, 202)), rng.randbytes(rng.randrange(1, 20))),)
        kinds = (96, 97, 98, 111, rng.randrange(64), rng.randrange(96, 128))
        packet = replace(
            packet,
            payload_type=PayloadType(rng.choice(kinds)),
            payload=payload,
            padding=rng.choice((0, 0, 1, 200)),
            timestamp=rng.choice((packet.timestamp, rng.getrandbits(32))),
            extensions=extensions,
        )
        client.send(packet)

    def compound(self) -> None:
        """Sealed RTCP, well formed or not."""
        rng, client = self.rng, self.pick()
        ssrc = rng.randrange(1, 30)
        if rng.random() < 0.4:
            body = rng.randbytes(4 * rng.randrange(1, 60))
            words = len(body) // 4 if rng.random() < 0.8 else rng.getrandbits(16)
            head = bytes((0x80 | rng.randrange(32), rng.randrange(200, 208))) + words.to_bytes(2, "big")
            client.send(head + ssrc.to_bytes(4, "big") + body[4:])
            return
        block = ReportBlock(
            ssrc, 255, 1, rng.getrandbits(32), rng.getrandbits(32), rng.getrandbits(32), rng.getrandbits(32)
        )
        packets: list[RtcpPacket] = [
            SenderReport(ssrc, rng.getrandbits(64), rng.getrandbits(32), 1, 1, (block,)),
            ReceiverReport(ssrc, (block,) * rng.randrange(5)),
            PictureLoss(1, ssrc),
            Nack(1, ssrc, tuple(range(rng.randrange(1, 200)))),
            Remb(1, rng.getrandbits(40), (ssrc,)),
        ]
        client.send(rng.sample(packets, rng.randrange(1, 5)))

    def junk(self) -> None:
        """Bytes that nobody sealed."""
        rng = self.rng
        first = rng.choice((0, 1, 20, 22, 128, 129, 144, 160, 191, 255))
        second = rng.choice((rng.randrange(256), 200, 205))
        self.pick().send_raw(
            bytes((first, second)) + rng.randbytes(rng.choice((0, 1, 9, 20, 60, 1400, 1499, 3000)))
        )


def chaos(seed: int, steps: int) -> None:
    """Run, then take everything away: nothing may be left."""
    run = Chaos(seed)
    node = run.node
    for _ in range(3):
        run.join()
    for _ in range(steps):
        if len(run.clients) < 2:
            run.join()
        run.step()
    node.read()
    for client in run.clients:
        node.media.remove_peer(client.peer)
    live = node.media.live()
    assert {live[name] for name in ("peers", "tracks", "egress", "sources", "slots")} == {0}
    assert live["paths"] == live["expected"]
    node.close()


@pytest.mark.parametrize("seed", range(6))
def test_w8_w11_w12_w13_w19_w35_random_commands_and_packets_leave_nothing_behind(seed: int) -> None:
    chaos(seed, 1500)


def test_a_path_on_which_media_is_heard_is_not_another_peers_for_the_asking() -> None:
    """A path on which authenticated media came within 2 s is not another's for the asking."""
    node = Node()
    victim, thief = node.client(), node.client()
    node.media.add_track(victim.peer, VIDEO)
    victim.send(video(1, key=True))
    node.read()
    assert not node.media.allow_path(thief.peer, victim.path)
    assert not node.media.select_path(thief.peer, victim.path)
    node.advance(1.9)
    node.read()
    node.media.on_readable(node.now)
    assert not node.media.allow_path(thief.peer, victim.path)
    victim.send_raw(bytes((0x80, 96)) + bytes(60))  # what nobody sealed holds nothing
    node.advance(0.2)
    node.read()
    assert node.media.allow_path(thief.peer, victim.path)
    node.media.take_path(victim.peer, victim.path)
    victim.send(video(2))
    node.read()
    assert node.media.peer_stats(victim.peer).packets_in == 2
    node.close()
