"""The packet path under seeded chaos: commands and datagrams in any order, with what must hold at every
moment looked at in between.

`python -m tests.fuzz.chaos SECONDS` goes on for a time, a seed after another; `script/fuzz` runs it on
modules built with sanitizers. What it finds gets a test of its own, since a seed's course changes with
this file.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from pylibsrtp import Error
from rich.console import Console

from sfu.base.ids import Mid, PayloadType, Rid, Ssrc
from sfu.media.control import MediaError
from sfu.media.layers import LayerWish
from sfu.media.limits import Limits
from sfu.media.tracks import ExtensionIds, Feedback, IngressCodec, IngressTrack, Kind, Routes
from sfu.wire.rtcp import Nack, RtcpPacket, parse_rtcp
from sfu.wire.rtp import is_rtcp, parse_rtp
from tests.fuzz import packets
from tests.sfu.media.peers import (
    AUDIO,
    AUDIO_EGRESS,
    AUDIO_ROUTES,
    EXTENSIONS,
    VIDEO_EGRESS,
    VP8,
    Client,
    Node,
    fresh_keys,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu.media.events import EgressId, PeerId, TrackId
    from sfu.wire.rtp import RtpPacket

CODECS = ("VP8", "VP8", "VP8", "VP8", "VP8", "VP8", "VP9", "H264", "H265", "AV1", "red", "opus")
RTX_ROUTES = Routes({VP8: PayloadType(120)}, {5: 6}, {PayloadType(120): PayloadType(121)})
SMALL = Limits(
    peers=12,
    paths=30,
    tracks=24,
    egress=40,
    sources=200,
    ssrcs_per_peer=6,
    paths_per_peer=3,
    retired_per_peer=200,
    cache=20 * 16384,
    cache_video=4 * 16384,
    cache_audio=16384,
    missing=300,
)


class Broken(AssertionError):
    """What must hold does not."""


class Chaos:
    """One run. Handles that are gone are used on purpose: they must be refused, not followed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        # either each call forwards all that waits, or as little as it can
        self.node = Node(
            replace(SMALL, slice_s=self.rng.choice((0.0, 60.0)), waiting=self.rng.choice((40, 400)))
        )
        self.clients: list[Client] = []
        self.tracks: dict[TrackId, IngressTrack] = {}
        self.egress: list[EgressId] = []
        self.flows: list[packets.Flow] = []
        self.opened = 0
        self.newest: dict[int, int] = {}  # sequence number by SSRC of a subscription
        self._sent: deque[bytes] = deque(maxlen=200)  # sealed datagrams, to be played again
        self._seen: dict[tuple[PeerId, bytes, int, int], bytes] = {}
        self._counters: dict[str, int] = {}
        self._number = 0

    def step(self) -> None:
        """One command or datagram, then time."""
        rng = self.rng
        deeds: list[Callable[[], object]] = [
            *[self.media] * 40,
            *[self.burst] * 5,
            *[self.compound] * 12,
            *[self.again] * 3,
            lambda: self.pick().send_raw(packets.junk(rng)),
            lambda: self.pick().send_raw(packets.control_shaped(rng)),
            *[self.publish] * 2,
            *[self.subscribe] * 4,
            *[self.switch] * 2,
            *[self.unsubscribe, self.unpublish],
            rng.choice((self.join, self.leave, self.move, self.rekey)),
        ]
        # a bound, a handle that is gone, or libsrtp on the test's own side
        with contextlib.suppress(MediaError, Error, IndexError, KeyError):
            rng.choice(deeds)()
        if rng.random() < 0.3:
            self.node.read()
        if rng.random() < 0.1:
            self.node.advance(rng.choice((0.005, 0.01, 0.06, 0.06, 1.1, 31.0)))
            self.look()

    def look(self) -> None:
        """What must hold now."""
        faults = self.node.faults()
        if faults:
            raise Broken("; ".join(faults))
        counters = self.node.media.counters()
        fell = [name for name, before in self._counters.items() if counters[name] < before]
        if fell:
            raise Broken(f"went down: {', '.join(fell)}")
        self._counters = counters
        for client in self.clients:
            self.drain(client)

    def drain(self, client: Client) -> None:
        """Take in what came: whole packets, and no number of an SSRC with two contents."""
        while True:
            try:
                data = client.sock.recv(4096)
            except BlockingIOError:
                return
            if not 128 <= data[0] <= 191:
                continue
            ssrc = int.from_bytes(data[8:12], "big")
            if not is_rtcp(data) and ssrc >> 8 == client.peer & 0xFFFF:
                key = (client.peer, client.keys.local, ssrc, int.from_bytes(data[2:4], "big"))
                if not ssrc & 0x80:
                    self.newest[ssrc] = key[-1]
                if self._seen.setdefault(key, data) != data:
                    raise Broken(f"SSRC {ssrc:#x} has sent two packets under one number")
            with contextlib.suppress(Error):  # of another peer, whose path this was; or a resend
                if is_rtcp(data):
                    parse_rtcp(client.open_rtcp(data))
                else:
                    parse_rtp(client.open(data))
                self.opened += 1

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
        self.flows = [flow for flow in self.flows if flow.client is not client]
        self.node.media.remove_peer(client.peer)

    def described(self) -> IngressTrack:
        """Any m-section."""
        rng = self.rng
        if rng.random() < 0.3:
            return replace(AUDIO, mid=Mid(f"a{rng.randrange(4)}"))
        name = rng.choice(CODECS)
        ssrcs = tuple(Ssrc(rng.randrange(1, 12)) for _ in range(rng.randrange(3)))
        return IngressTrack(
            mid=Mid(f"v{rng.randrange(4)}"),
            kind=Kind.VIDEO,
            codecs={
                PayloadType(96): IngressCodec(name, 90000, PayloadType(97)),
                PayloadType(98): IngressCodec("red", 90000),
            },
            ssrcs=ssrcs,
            rtx_ssrcs={ssrc: Ssrc(ssrc + 0x8000) for ssrc in ssrcs},
            rids=tuple(Rid(rid) for rid in "hml"[: rng.choice((0, 0, 1, 2, 3))]),
            extensions=rng.choice(
                (EXTENSIONS,) * 8 + (ExtensionIds(), ExtensionIds(mid=200, rid=201, transport_cc=202))
            ),
            feedback=Feedback(
                transport_cc=rng.random() < 0.5, remb=True, pli=rng.random() < 0.7, fir=True, nack=True
            ),
        )

    def publish(self) -> None:
        """A track, or other words for one that is there; and one or more flows for it."""
        rng = self.rng
        described = self.described()
        if self.tracks and rng.random() < 0.2:
            track = rng.choice(list(self.tracks))
            described = replace(
                described, mid=self.tracks[track].mid if rng.random() < 0.9 else described.mid
            )
            self.node.media.update_track(track, described)
            return
        client = self.pick()
        track = self.node.media.add_track(client.peer, described)
        self.tracks[track] = described
        for rid in described.rids or (None,):
            ssrc = rng.choice([rng.randrange(0x100, 0x1000), *described.ssrcs])
            mid = described.mid if rid is not None or rng.random() < 0.8 else rng.choice((None, "nobody"))
            is_video = described.kind is Kind.VIDEO
            flow = packets.Flow(client, track, mid, rid, is_video, ssrc, rng.getrandbits(16))
            self.flows.append(flow)
        del self.flows[:-16]

    def unpublish(self) -> None:
        """A track goes, or has gone before; its flows may come all the same."""
        track = self.rng.choice(list(self.tracks))
        if len(self.tracks) > 16:
            del self.tracks[track]
        self.flows = [flow for flow in self.flows if flow.track != track or self.rng.random() < 0.1]
        self.node.media.remove_track(track)

    def subscribe(self) -> None:
        """A subscription with an SSRC that may be taken."""
        rng, client = self.rng, self.pick()
        track = rng.choice([*list(self.tracks)[-12:], None])
        is_audio = track is not None and self.tracks[track].kind is Kind.AUDIO
        egress, routes = (AUDIO_EGRESS, AUDIO_ROUTES) if is_audio else (VIDEO_EGRESS, RTX_ROUTES)
        ssrc = self.ssrc_of(client)
        rtx_ssrc = Ssrc(ssrc + 0x80) if not is_audio and rng.random() < 0.7 else None
        egress = replace(egress, ssrc=ssrc, rtx_ssrc=rtx_ssrc, extmap_allow_mixed=rng.random() < 0.5)
        self.egress.append(self.node.subscribe(client, track, egress, None if track is None else routes))

    def ssrc_of(self, client: Client) -> Ssrc:
        """One of a client's own few, so that whose a packet is shows in it."""
        return Ssrc((client.peer & 0xFFFF) << 8 | self.rng.randrange(1, 9))

    def switch(self) -> None:
        """Another track, layer or state of a subscription."""
        rng = self.rng
        egress = rng.choice(self.egress)
        what = rng.randrange(4)
        if what == 0:
            track = rng.choice([*list(self.tracks)[-12:], None])
            self.node.media.switch_egress(egress, track, None if track is None else RTX_ROUTES)
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
        self.drain(client)
        client.keys = fresh_keys()
        self.node.media.set_keys(client.peer, client.keys)
        client.__post_init__()

    def media(self) -> None:
        """Sealed RTP, well formed or not."""
        rng, flow = self.rng, self.rng.choice(self.flows)
        made = flow.packet(rng)
        what = rng.randrange(10)
        if what == 0:
            made = packets.strange(rng, made)
        elif what == 1:
            made = packets.malformed(rng, made)
        elif what == 2:
            made = packets.resent(rng, made)
        if rng.random() < 0.05:
            flow.ssrc = rng.randrange(0x100, 0x1000)  # goes on under another SSRC
        self.send(flow.client if rng.random() < 0.95 else self.pick(), made)

    def burst(self) -> None:
        """A flow with gaps that a subscriber asks for again, all of it and more than once."""
        rng, flow = self.rng, self.rng.choice(self.flows)
        for _ in range(60):
            made = flow.packet(rng)
            if rng.random() < 0.9:
                self.send(flow.client, made)
        self.node.read()
        self.look()
        for _ in range(rng.randrange(1, 4)):
            ssrc, sequence = rng.choice(list(self.newest.items()))
            asker = rng.choice([one for one in self.clients if ssrc >> 8 == one.peer & 0xFFFF])
            wanted = tuple(sequence - i & 0xFFFF for i in range(rng.choice((1, 30, 200))))
            self.send(asker, [Nack(1, ssrc, wanted)])
            self.node.read()
            self.node.advance(rng.choice((0.0, 0.02, 0.2)))

    def send(self, client: Client, packet: RtpPacket | bytes | list[RtcpPacket]) -> None:
        """Seal, send, remember."""
        sealed = client.seal(packet)
        self._sent.append(sealed)
        client.send_raw(sealed)

    def again(self) -> None:
        """A datagram of before, as it was or with a bit turned, from anywhere."""
        data = bytearray(self.rng.choice(self._sent))
        if self.rng.random() < 0.5:
            data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
        self.pick().send_raw(bytes(data))

    def compound(self) -> None:
        """Sealed RTCP, well formed or not, about streams of its own or of nobody."""
        rng, client = self.rng, self.pick()
        ssrc = rng.choice((rng.randrange(1, 30), self.ssrc_of(client), self.ssrc_of(client)))
        if rng.random() < 0.4:
            self.send(client, packets.broken_compound(rng, ssrc))
        elif rng.random() < 0.1:
            self.send(client, packets.nack_storm(ssrc, rng.getrandbits(16)))
        else:
            self.send(client, packets.lies(rng, ssrc, rng.getrandbits(16)))


def chaos(seed: int, steps: int) -> Chaos:
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
    run.look()
    for client in run.clients:
        node.media.remove_peer(client.peer)
    live = node.media.live()
    left = {name: live[name] for name in ("peers", "tracks", "egress", "sources", "slots") if live[name]}
    if left or live["paths"] != live["expected"]:
        raise Broken(f"left behind: {left or live}")
    node.close()
    return run


def main(seconds: float, first: int) -> None:
    """Seeds in turn until the time is over; the seed of a run that fails, or kills the process, is shown."""
    console = Console(stderr=True)
    start = time.monotonic()
    seed = first
    while (elapsed := time.monotonic() - start) < seconds:
        console.print(f"chaos    {elapsed:4.0f} s  seed {seed}", end="\r", highlight=False)
        chaos(seed, 3000)
        seed += 1
    console.print(f"chaos    {seed - first} runs of 3000 steps, seeds {first} to {seed - 1}", highlight=False)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
