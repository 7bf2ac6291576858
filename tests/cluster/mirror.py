"""A browser that sees its own picture back through the server."""

from __future__ import annotations

from typing import Any

from tests.browser.driver import Page
from tests.browser.peer import BrowserPeer
from tests.cluster.world import World


class Mirror:
    """A call that sends its picture and receives it back."""

    def __init__(self, peer: BrowserPeer) -> None:
        self.peer = peer
        self.mid = ""

    @classmethod
    async def open(
        cls, page: Page, world: World, name: str = "mirror", *, config: dict[str, Any] | None = None
    ) -> Mirror:
        """Publish; `look` shows whether it comes back. `config` is what RTCPeerConnection is made with."""
        mirror = cls(await BrowserPeer.open(page, world, name, config=config))
        await mirror.publish("video")
        return mirror

    async def publish(self, name: str) -> None:
        """Send a picture."""
        await self.peer.push({"name": name, "kind": "video", "codecs": ["VP8"]})

    async def pull(self, name: str = "video") -> None:
        """Ask for the picture."""
        pull = {"sessionId": self.peer.session_id, "trackName": name}
        (item,) = await self.peer.pull(pull)
        assert item.get("errorCode") is None, item
        self.mid = item["mid"]

    async def look(self, *, deadline_s: float = 20) -> None:
        """The picture moves."""
        await self.peer.frames_rise(self.mid, by=20, deadline_s=deadline_s)

    async def addresses(self) -> tuple[str, str]:
        """Ours and the server's address of the pair in use."""
        transport = (await self.peer.stats())["transport"]
        return transport["local"], transport["remote"]
