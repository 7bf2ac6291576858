"""Simulcast between real browsers: a subscriber goes from layer to layer and sees one picture that moves.

The default run makes some switches; the long one fifty in a row.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.browser.conftest import OpenPage
from tests.browser.driver import BrowserName
from tests.browser.peer import BrowserPeer, Item, eventually
from tests.browser.server import APP_ID, Orchard

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# Chromium gives a picture of 640 x 360 two layers, of 960 x 540 three.
SIZE = {"width": 640, "height": 360, "fps": 30}
ENCODINGS: list[Item] = [{"rid": "a"}, {"rid": "b", "scaleResolutionDownBy": 2}]
WIDTHS = {"a": 640, "b": 320}
THREE_SIZE = {"width": 960, "height": 540, "fps": 15}
THREE_ENCODINGS: list[Item] = [*ENCODINGS, {"rid": "c", "scaleResolutionDownBy": 4}]
THREE_WIDTHS = {"a": 960, "b": 480, "c": 240}
STAY_MS = 100
FREEZE_MS = 300
FOLLOW_MS = 1000
MOVE_ON_MS = 500

PAIRS: list[tuple[BrowserName, BrowserName, str]] = [
    ("chromium", "chromium", "VP8"),
    ("chromium", "firefox", "VP8"),
    ("firefox", "chromium", "VP8"),
    ("firefox", "firefox", "VP8"),
    ("chromium", "chromium", "H264"),
]
SENDERS: list[BrowserName] = ["chromium", "firefox"]


@dataclass
class Show:
    """A camera in layers, who watches it, and the width of each layer."""

    publisher: BrowserPeer
    subscriber: BrowserPeer
    widths: dict[str, int]

    async def call(self, function: str, **arguments: Any) -> Any:
        """A function of pages/layers.js for the subscriber's mid 0."""
        return await on_page(self.subscriber, function, **arguments)

    async def visit(self, rids: str) -> list[int | None]:
        """Want one layer after the other; milliseconds until each is shown."""
        track = {"sessionId": self.publisher.session_id, "trackName": "video"}
        layers = [{"rid": rid, "width": self.widths[rid]} for rid in rids]
        return await self.call("visit", track=track, layers=layers, stayMs=STAY_MS)

    async def frames(self) -> Item:
        """The frames that were shown since the last call."""
        return await self.call("frames")


async def on_page(peer: BrowserPeer, function: str, **arguments: Any) -> Any:
    """Call a function of pages/layers.js for the peer's mid 0."""
    js = f"async (arg) => (await import('/pages/layers.js')).{function}(arg)"
    return await peer.page.evaluate(js, {"peer": peer.name, "mid": "0", **arguments})


async def show(
    open_page: OpenPage,
    orchard: Orchard,
    sender: BrowserName,
    receiver: BrowserName,
    *,
    codec: str = "VP8",
    three: bool = False,
) -> Show:
    """Both connected, all layers sent, the highest shown."""
    size, encodings, widths = (
        (THREE_SIZE, THREE_ENCODINGS, THREE_WIDTHS) if three else (SIZE, ENCODINGS, WIDTHS)
    )
    publisher = await BrowserPeer.open(await open_page(sender), orchard, "publisher")
    await publisher.push(
        {"name": "video", "kind": "video", "size": size, "codecs": [codec], "encodings": encodings}
    )

    async def layers() -> dict[str, int]:
        entries = (await publisher.stats())["outbound"]
        return {entry["rid"]: entry.get("packets") or 0 for entry in entries if entry.get("rid")}

    await eventually(
        layers, lambda now: len(now) == len(widths) and min(now.values()) > 30, "all layers are sent"
    )
    subscriber = await BrowserPeer.open(await open_page(receiver), orchard, "subscriber")
    (item,) = await subscriber.pull({"sessionId": publisher.session_id, "trackName": "video"})
    assert item.get("errorCode") is None
    seen = Show(publisher, subscriber, widths)
    assert await seen.call("watch", width=widths["a"])
    return seen


async def switches(seen: Show, rids: str) -> None:
    """Visit layers: the size follows within a second, no frame is late, time goes on, none is missing."""
    before = await seen.subscriber.inbound("0")
    await seen.frames()
    took = await seen.visit(rids)
    frames = await seen.frames()
    after = await seen.subscriber.inbound("0")
    assert all(ms is not None and ms <= FOLLOW_MS for ms in took), took
    assert frames["widths"] == [seen.widths[rid] for rid in "a" + rids]
    assert max(frames["gapsMs"]) <= FREEZE_MS, frames["gapsMs"]
    assert all(step > 0 for step in frames["rtpSteps"]), frames["rtpSteps"]
    assert (after.get("freezes") or 0) == (before.get("freezes") or 0)
    assert (after.get("plis") or 0) == (before.get("plis") or 0)  # its decoder missed nothing


@pytest.mark.parametrize(("sender", "receiver", "codec"), PAIRS)
async def test_a_subscriber_goes_to_the_layer_that_it_wants(
    sender: BrowserName, receiver: BrowserName, codec: str, open_page: OpenPage, orchard: Orchard
) -> None:
    await switches(await show(open_page, orchard, sender, receiver, codec=codec), "bababa")


@pytest.mark.long
@pytest.mark.parametrize(("sender", "receiver", "codec"), PAIRS)
async def test_fifty_switches_in_a_row_are_one_moving_picture(
    sender: BrowserName, receiver: BrowserName, codec: str, open_page: OpenPage, orchard: Orchard
) -> None:
    await switches(await show(open_page, orchard, sender, receiver, codec=codec), "ba" * 25)


@pytest.mark.parametrize("sender", SENDERS)
async def test_three_layers_arrive_and_are_told_apart(
    sender: BrowserName, open_page: OpenPage, orchard: Orchard
) -> None:
    """By RID and repaired RID: each has the size of its name, and what browsers probe with counts as RTX."""
    seen = await show(open_page, orchard, sender, "chromium", three=True)
    took = await seen.visit("cba")
    assert None not in took

    async def arrived() -> list[Item]:
        url = f"{orchard.url}/orchard/v1/apps/{APP_ID}/sessions/{seen.publisher.session_id}/statistics"
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {orchard.secret}"}) as client:
            statistics = (await client.get(url)).json()
        return statistics["published"][0]["layers"]

    layers = await eventually(
        arrived,
        lambda now: any(layer["retransmittedPacketsReceived"] for layer in now),
        "RTX of a layer has come",
    )
    assert [layer["rid"] for layer in layers] == ["a", "b", "c"]
    assert len({layer["ssrc"] for layer in layers}) == 3


@pytest.mark.parametrize("sender", SENDERS)
async def test_a_subscriber_without_a_wish_moves_on_when_the_highest_layer_ends_and_back_when_it_is_sent(
    sender: BrowserName, open_page: OpenPage, orchard: Orchard
) -> None:
    seen = await show(open_page, orchard, sender, "chromium")
    await seen.frames()
    lower = asyncio.create_task(seen.call("width", width=WIDTHS["b"]))
    await on_page(seen.publisher, "setActive", active={"a": False})
    assert await lower
    frames = await seen.frames()
    assert frames["widths"] == [WIDTHS["a"], WIDTHS["b"]]
    assert max(frames["gapsMs"]) <= MOVE_ON_MS, frames["gapsMs"]
    higher = asyncio.create_task(seen.call("width", width=WIDTHS["a"]))
    await on_page(seen.publisher, "setActive", active={"a": True})
    assert await higher
    frames = await seen.frames()
    assert max(frames["gapsMs"]) <= FREEZE_MS, frames["gapsMs"]
    assert all(step > 0 for step in frames["rtpSteps"]), frames["rtpSteps"]
