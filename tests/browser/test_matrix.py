"""From every peer to every other, with each codec that both have: pictures move, sound is heard.

The default run wants some dozens of frames of a small picture; the long one a minute at 720p30 (smaller
where two cores can't encode the codec), without a freeze.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.browser.aiortc_peer import AiortcPeer
from tests.browser.conftest import OpenPage
from tests.browser.driver import BrowserName
from tests.browser.peer import BrowserPeer, Item, eventually
from tests.browser.server import Orchard

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

Size = dict[str, int]
SMALL: Size = {"width": 320, "height": 180, "fps": 30}
HD: Size = {"width": 1280, "height": 720, "fps": 30}
MEDIUM: Size = {"width": 640, "height": 360, "fps": 30}  # VP9 and AV1 at 720p take more than two cores

PAIRS: list[tuple[BrowserName, BrowserName, str]] = [
    ("chromium", "firefox", "VP8"),
    ("chromium", "firefox", "VP9"),
    ("chromium", "firefox", "AV1"),
    ("firefox", "chromium", "VP8"),
    ("firefox", "chromium", "VP9"),
    ("firefox", "chromium", "AV1"),
    ("chromium", "chromium", "H264"),
]
WITH_AIORTC = [("chromium", "VP8"), ("chromium", "H264"), ("firefox", "VP8")]
MINUTE_S = 60


async def publish(
    page_of: OpenPage, orchard: Orchard, name: BrowserName, codec: str, size: Size
) -> BrowserPeer:
    """A browser that publishes sound and picture as "audio" (mid 0) and "video" (mid 1)."""
    peer = await BrowserPeer.open(await page_of(name), orchard, "publisher")
    pushed = await peer.push(
        {"name": "audio", "kind": "audio"},
        {"name": "video", "kind": "video", "size": size, "codecs": [codec]},
    )
    assert [(item["trackName"], item.get("errorCode")) for item in pushed] == [
        ("audio", None),
        ("video", None),
    ]
    return peer


def both_of(session_id: str) -> list[Item]:
    """What a subscriber asks for."""
    return [{"sessionId": session_id, "trackName": name} for name in ("audio", "video")]


async def subscribe(page_of: OpenPage, orchard: Orchard, name: BrowserName, session_id: str) -> BrowserPeer:
    """A browser that receives both tracks as mid 0 and mid 1."""
    peer = await BrowserPeer.open(await page_of(name), orchard, "subscriber")
    pulled = await peer.pull(*both_of(session_id))
    assert [(item["mid"], item.get("errorCode")) for item in pulled] == [("0", None), ("1", None)]
    return peer


async def publisher_sees_the_network(publisher: BrowserPeer) -> None:
    """Round trip and jitter reach the publisher by receiver reports (api.md 5.20)."""
    for mid in ("0", "1"):
        await eventually(
            lambda mid=mid: publisher.outbound(mid),
            lambda entry: entry.get("roundTrip") is not None and entry.get("remoteJitter") is not None,
            f"{publisher.page.browser} has round trip and jitter of mid {mid}",
        )


async def subscriber_sees_the_network(subscriber: BrowserPeer) -> None:
    """The subscriber knows its round trip and the jitter of what it receives."""
    stats = await subscriber.stats()
    assert stats["transport"].get("roundTrip") is not None
    assert all(entry.get("jitter") is not None for entry in stats["inbound"])


@pytest.mark.parametrize(("sender", "receiver", "codec"), PAIRS)
async def test_picture_and_sound_go_from_browser_to_browser(
    sender: BrowserName, receiver: BrowserName, codec: str, open_page: OpenPage, orchard: Orchard
) -> None:
    publisher = await publish(open_page, orchard, sender, codec, SMALL)
    subscriber = await subscribe(open_page, orchard, receiver, publisher.session_id)
    video = await subscriber.frames_rise("1", by=30)
    assert video["codec"] == codec
    assert (video["width"], video["height"]) == (SMALL["width"], SMALL["height"])
    await subscriber.sound_rises("0")
    await publisher_sees_the_network(publisher)
    await subscriber_sees_the_network(subscriber)


@pytest.mark.parametrize(("browser", "codec"), WITH_AIORTC)
async def test_picture_and_sound_go_from_a_browser_to_aiortc(
    browser: BrowserName, codec: str, open_page: OpenPage, orchard: Orchard
) -> None:
    publisher = await publish(open_page, orchard, browser, codec, SMALL)
    subscriber = await AiortcPeer.open(orchard)
    try:
        await subscriber.pull(*both_of(publisher.session_id))
        await _aiortc_receives(subscriber, frames=30)
        await publisher_sees_the_network(publisher)
    finally:
        await subscriber.close()


@pytest.mark.parametrize(("browser", "codec"), WITH_AIORTC)
async def test_picture_and_sound_go_from_aiortc_to_a_browser(
    browser: BrowserName, codec: str, open_page: OpenPage, orchard: Orchard
) -> None:
    publisher = await AiortcPeer.open(orchard)
    try:
        await publisher.push(codec=codec)
        subscriber = await subscribe(open_page, orchard, browser, publisher.session_id)
        video = await subscriber.frames_rise("1", by=30)
        assert video["codec"] == codec
        await subscriber.sound_rises("0")
        await subscriber_sees_the_network(subscriber)
    finally:
        await publisher.close()


async def _aiortc_receives(subscriber: AiortcPeer, *, frames: int) -> None:
    async def counts() -> dict[str, Any]:
        return {mid: (sink.frames, sink.energy) for mid, sink in subscriber.sinks.items()}

    await eventually(
        counts,
        lambda now: now["1"][0] >= frames and now["0"][1] > 0,
        f"aiortc decodes {frames} frames and hears something",
    )


@pytest.mark.long
@pytest.mark.parametrize(("sender", "receiver", "codec"), PAIRS)
async def test_a_minute_passes_without_a_freeze(
    sender: BrowserName, receiver: BrowserName, codec: str, open_page: OpenPage, orchard: Orchard
) -> None:
    size = HD if codec in ("VP8", "H264") else MEDIUM
    publisher = await publish(open_page, orchard, sender, codec, size)
    subscriber = await subscribe(open_page, orchard, receiver, publisher.session_id)
    await subscriber.frames_rise("1", by=60)  # the ramp of the encoder's rate is not what is judged
    start = await subscriber.inbound("1")
    sound = await subscriber.inbound("0")
    for _ in range(MINUTE_S // 5):
        before = await subscriber.inbound("1")
        await asyncio.sleep(5)
        now = await subscriber.inbound("1")
        assert now["framesDecoded"] - before["framesDecoded"] > 50
    end = await subscriber.inbound("1")
    assert end["framesDecoded"] - start["framesDecoded"] > MINUTE_S * 15  # of 30, on two cores
    assert (end.get("freezes") or 0) == (start.get("freezes") or 0)
    assert (await subscriber.inbound("0"))["audioEnergy"] > sound["audioEnergy"]
    await publisher_sees_the_network(publisher)
    await subscriber_sees_the_network(subscriber)


@pytest.mark.long
@pytest.mark.parametrize(("browser", "codec"), WITH_AIORTC)
async def test_aiortc_receives_for_a_minute(
    browser: BrowserName, codec: str, open_page: OpenPage, orchard: Orchard
) -> None:
    publisher = await publish(open_page, orchard, browser, codec, MEDIUM)
    subscriber = await AiortcPeer.open(orchard)
    try:
        await subscriber.pull(*both_of(publisher.session_id))
        await _aiortc_receives(subscriber, frames=30)
        sinks = [subscriber.sinks[mid] for mid in ("0", "1")]
        for _ in range(MINUTE_S // 5):
            before = [sink.frames for sink in sinks]
            energy = sinks[0].energy
            await asyncio.sleep(5)
            sound, picture = (sink.frames - then for sink, then in zip(sinks, before, strict=True))
            assert sound > 200
            assert picture > 50
            assert sinks[0].energy > energy
        await publisher_sees_the_network(publisher)
    finally:
        await subscriber.close()


@pytest.mark.long
@pytest.mark.parametrize(("browser", "codec"), WITH_AIORTC)
async def test_aiortc_is_received_for_a_minute(
    browser: BrowserName, codec: str, open_page: OpenPage, orchard: Orchard
) -> None:
    publisher = await AiortcPeer.open(orchard)
    try:
        await publisher.push(codec=codec)
        subscriber = await subscribe(open_page, orchard, browser, publisher.session_id)
        await subscriber.frames_rise("1", by=60)
        start, sound = await subscriber.inbound("1"), await subscriber.inbound("0")
        for _ in range(MINUTE_S // 5):
            before = await subscriber.inbound("1")
            await asyncio.sleep(5)
            assert (await subscriber.inbound("1"))["framesDecoded"] - before["framesDecoded"] > 50
        end = await subscriber.inbound("1")
        assert (end.get("freezes") or 0) == (start.get("freezes") or 0)
        assert (await subscriber.inbound("0"))["audioEnergy"] > sound["audioEnergy"]
        await subscriber_sees_the_network(subscriber)
    finally:
        await publisher.close()
