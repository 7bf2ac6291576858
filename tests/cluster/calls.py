"""A publisher and a subscriber, each a browser behind a long link of its own, and what becomes of a video.

publisher ns ---- link ---- router ---- server
subscriber ns --- link ------'
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tests.browser.driver import BrowserName
from tests.browser.peer import BrowserPeer, FrameGaps, Item
from tests.cluster.conftest import page_in
from tests.cluster.lab import Lab, LongUplink
from tests.cluster.link import Conditions
from tests.cluster.world import World

SIZE = {"width": 640, "height": 360, "fps": 30}  # frames of one to five packets; two cores have room to spare
CLEAN = Conditions(delay_s=0.01)


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters of a call at one moment, as both browsers' getStats have them."""

    received: int  # RTP packets of the video's own stream
    lost: int  # numbers that did not come by themselves
    repaired: int | None  # that came by RTX; Firefox 153 does not say
    frames: int  # decoded
    frames_sent: int
    keyframes_sent: int
    plis: int
    nacks: int  # that the subscriber sent
    nacks_to_publisher: int
    resent_by_publisher: int

    def since(self, start: Sample) -> Sample:
        """What has come on top of `start`."""
        return Sample(
            received=self.received - start.received,
            lost=self.lost - start.lost,
            repaired=None if self.repaired is None else self.repaired - (start.repaired or 0),
            frames=self.frames - start.frames,
            frames_sent=self.frames_sent - start.frames_sent,
            keyframes_sent=self.keyframes_sent - start.keyframes_sent,
            plis=self.plis - start.plis,
            nacks=self.nacks - start.nacks,
            nacks_to_publisher=self.nacks_to_publisher - start.nacks_to_publisher,
            resent_by_publisher=self.resent_by_publisher - start.resent_by_publisher,
        )

    @property
    def residual_loss(self) -> float:
        """The share of packets that neither came nor were repaired.

        Where a browser does not say what was repaired, the share of frames that were never decoded: more,
        since one packet that is missing costs at least its frame. Two frames may be on their way.
        """
        if self.repaired is None:
            return max(0, self.frames_sent - self.frames - 2) / max(1, self.frames_sent)
        return max(0, self.lost - self.repaired) / max(1, self.received + self.lost)


def sample_of(inbound: Item, outbound: Item, receiver: BrowserName) -> Sample:
    """From a subscriber's and a publisher's entries of `collectStats`.

    What came by RTX stays among the lost (RFC 4588 wants it so). Chromium counts it among the received
    as well: seen, and so it stands in webrtc-stats.
    """
    repaired = None if receiver == "firefox" else inbound.get("repaired") or 0
    return Sample(
        received=inbound["packets"] - (repaired or 0),
        lost=inbound["lost"],
        repaired=repaired,
        frames=inbound["framesDecoded"],
        frames_sent=outbound["framesEncoded"],
        keyframes_sent=outbound.get("keyFramesEncoded") or 0,
        plis=inbound.get("plis") or 0,
        nacks=inbound.get("nacks") or 0,
        nacks_to_publisher=outbound.get("nacks") or 0,
        resent_by_publisher=outbound.get("repaired") or 0,
    )


class Call:
    """A video from one browser to another."""

    def __init__(
        self,
        publisher: BrowserPeer,
        published_mid: str,
        subscriber: BrowserPeer,
        pulled_mid: str,
        links: tuple[LongUplink, LongUplink],
    ) -> None:
        self.publisher = publisher
        self.subscriber = subscriber
        self.publisher_link, self.subscriber_link = links
        self.published: Item = {"sessionId": publisher.session_id, "trackName": "video"}
        self._published_mid = published_mid
        self._pulled_mid = pulled_mid

    @classmethod
    async def open(
        cls,
        lab: Lab,
        world: World,
        receiver: BrowserName,
        *,
        near: Conditions = CLEAN,
        far: Conditions = CLEAN,
        codec: str = "VP8",
    ) -> Call:
        """Publish from Chromium, play in `receiver`; `far` befalls the publisher, `near` the subscriber."""
        links: list[LongUplink] = []
        for seed, (role, conditions) in enumerate((("publisher", far), ("subscriber", near))):
            link = lab.long_uplink(lab.client(role), seed=10 * seed, ipv6=False)
            link.set(conditions)
            links.append(link)
        publisher = await BrowserPeer.open(await page_in(world, links[0]), world, "publisher")
        (pushed,) = await publisher.push({"name": "video", "kind": "video", "codecs": [codec], "size": SIZE})
        assert pushed.get("errorCode") is None, pushed
        subscriber = await BrowserPeer.open(await page_in(world, links[1], receiver), world, "subscriber")
        (pulled,) = await subscriber.pull({"sessionId": publisher.session_id, "trackName": "video"})
        assert pulled.get("errorCode") is None, pulled
        call = cls(publisher, pushed["mid"], subscriber, pulled["mid"], (links[0], links[1]))
        # The first second of an encoder, with its ramp of rate and size, is not what is judged.
        await subscriber.frames_rise(pulled["mid"], by=30)
        return call

    async def sample(self) -> Sample:
        """The counters now."""
        inbound, outbound = await asyncio.gather(
            self.subscriber.inbound(self._pulled_mid), self.publisher.outbound(self._published_mid)
        )
        return sample_of(inbound, outbound, self.subscriber.page.browser)

    async def frames_rise(self, by: int) -> None:
        """Wait until the subscriber has decoded `by` more frames."""
        await self.subscriber.frames_rise(self._pulled_mid, by=by, deadline_s=20 + by / 15)

    async def watch(self, seconds: float) -> tuple[Sample, FrameGaps]:
        """Look on for a while: counters over that time, and how steadily the picture moved.

        Then the links become clean, and what is on its way may arrive before the counters are read.
        """
        start = await self.sample()
        await self.subscriber.watch_frames(self._pulled_mid)
        await asyncio.sleep(seconds)
        gaps = await self.subscriber.frame_gaps(self._pulled_mid)
        for link in (self.publisher_link, self.subscriber_link):
            link.set(CLEAN)
        await self.frames_rise(30)
        return (await self.sample()).since(start), gaps
