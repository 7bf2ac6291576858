"""A peer of the SFU that lives in a page of a browser; the typed face of pages/peers.js."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from tests.browser.driver import Page

T = TypeVar("T")
Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FrameGaps:
    """Frames that a page has shown over `seconds`, and the times between frames of 0.15 s and more."""

    frames: int
    seconds: float
    gaps_s: list[float]

    @property
    def longest_s(self) -> float:
        """The longest time without a new frame, 0 if none was 0.15 s long."""
        return max(self.gaps_s, default=0.0)


@dataclass(frozen=True, slots=True)
class FirstFrame:
    """How long a pull took: to the end of its negotiation, and to the first frame on the page."""

    mid: str
    negotiated_s: float
    shown_s: float


class Server(Protocol):
    """Where sessions are made: the root of the session API and the secret of its app."""

    @property
    def root(self) -> str: ...

    @property
    def secret(self) -> str: ...


async def eventually(
    read: Callable[[], Awaitable[T]], true: Callable[[T], bool], what: str, *, deadline_s: float = 20
) -> T:
    """Read until the value satisfies `true`; fails with the last value after `deadline_s`."""
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_s
    while True:
        value = await read()
        if true(value):
            return value
        if loop.time() > until:
            raise AssertionError(f"not within {deadline_s} s: {what}; last seen: {value}")
        await asyncio.sleep(0.1)


async def uses_relay(page: Page, ice_servers: list[Item]) -> bool:
    """Whether the browser gets a relayed address of these servers."""
    js = "async (arg) => (await import('/pages/relays.js')).relayed(arg)"
    return await page.evaluate(js, {"iceServers": ice_servers})


class BrowserPeer:
    """One session of the SFU and its PeerConnection in a page."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name
        self.session_id = ""

    @classmethod
    async def open(
        cls, page: Page, server: Server, name: str = "peer", *, config: dict[str, Any] | None = None
    ) -> BrowserPeer:
        """Make a session; no media yet."""
        peer = cls(page, name)
        opened = {"root": server.root, "secret": server.secret, "config": config or {}}
        peer.session_id = await peer.call("open", **opened)
        return peer

    async def call(self, function: str, **arguments: Any) -> Any:
        """Call a function of pages/peers.js for this peer."""
        js = f"async (arg) => (await import('/pages/peers.js')).{function}(arg)"
        return await self.page.evaluate(js, {"peer": self.name, **arguments})

    async def push(self, *items: Item) -> list[Item]:
        """Publish by an offer of the browser's; items as in `push` of pages/peers.js."""
        return await self.call("push", items=items)

    async def push_by_server_offer(self, *items: Item) -> list[Item]:
        """Publish by an offer of the server's."""
        return await self.call("pushByServerOffer", items=items)

    async def pull(self, *items: Item) -> list[Item]:
        """Receive by an offer of the server's, and play what comes."""
        return await self.call("pull", items=items)

    async def pull_by_client_offer(self, *items: Item) -> list[Item]:
        """Receive by an offer of the browser's, and play what comes."""
        return await self.call("pullByClientOffer", items=items)

    async def close(self, *mids: str) -> list[Item]:
        """Stop transceivers and negotiate that."""
        return await self.call("close", mids=mids)

    async def connected(self) -> float:
        """Wait for the connection; milliseconds since the first HTTP call."""
        return await self.call("connected")

    async def stats(self) -> dict[str, Any]:
        """What getStats says, as `collectStats` of the demo's client.js arranges it."""
        return await self.call("stats")

    async def inbound(self, mid: str) -> Item:
        """Statistics of one received track; empty while there are none."""
        stats = await self.stats()
        none: Item = {}
        return next((entry for entry in stats["inbound"] if entry.get("mid") == mid), none)

    async def outbound(self, mid: str) -> Item:
        """Statistics of one sent track; empty while there are none."""
        stats = await self.stats()
        none: Item = {}
        return next((entry for entry in stats["outbound"] if entry.get("mid") == mid), none)

    async def frames_rise(self, mid: str, by: int = 10, *, deadline_s: float = 20) -> Item:
        """Wait until `by` more frames of a received video have been decoded."""
        start = (await self.inbound(mid)).get("framesDecoded") or 0
        return await eventually(
            lambda: self.inbound(mid),
            lambda entry: (entry.get("framesDecoded") or 0) >= start + by,
            f"{self.page.browser} decodes {by} more frames of mid {mid}",
            deadline_s=deadline_s,
        )

    async def frames_sent_rise(self, mid: str, by: int = 10, *, deadline_s: float = 20) -> Item:
        """Wait until `by` more frames of a sent video have been encoded."""
        start = (await self.outbound(mid)).get("framesEncoded") or 0
        return await eventually(
            lambda: self.outbound(mid),
            lambda entry: (entry.get("framesEncoded") or 0) >= start + by,
            f"{self.page.browser} encodes {by} more frames of mid {mid}",
            deadline_s=deadline_s,
        )

    async def sound_rises(self, mid: str, *, deadline_s: float = 20) -> Item:
        """Wait until received audio has brought energy."""
        start = (await self.inbound(mid)).get("audioEnergy") or 0
        return await eventually(
            lambda: self.inbound(mid),
            lambda entry: (entry.get("audioEnergy") or 0) > start,
            f"{self.page.browser} hears mid {mid}",
            deadline_s=deadline_s,
        )

    async def all_media_leaves(self) -> bool:
        """Whether what the senders count as sent in a second really goes out on a candidate pair."""
        before = await self.call("sentBytes")
        await asyncio.sleep(1)
        after = await self.call("sentBytes")
        return after["pairs"] - before["pairs"] >= after["senders"] - before["senders"]

    async def watch_frames(self, mid: str) -> None:
        """Note the times of a received video's frames from now on."""
        await self._frames("watchFrames", mid=mid)

    async def frame_gaps(self, mid: str) -> FrameGaps:
        """How steadily the picture has moved since `watch_frames`."""
        seen = await self._frames("frameGaps", mid=mid)
        return FrameGaps(seen["frames"], seen["ms"] / 1000, [gap / 1000 for gap in seen["gaps"]])

    async def first_frame(self, item: Item) -> FirstFrame:
        """Receive one video and wait until a frame is shown."""
        seen = await self._frames("firstFrame", item=item)
        return FirstFrame(seen["mid"], seen["negotiatedMs"] / 1000, seen["shownMs"] / 1000)

    async def _frames(self, function: str, **arguments: Any) -> Any:
        js = f"async (arg) => (await import('/pages/frames.js')).{function}(arg)"
        return await self.page.evaluate(js, {"peer": self.name, **arguments})

    async def end(self) -> None:
        """Close the PeerConnection."""
        await self.call("end")
