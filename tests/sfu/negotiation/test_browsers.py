"""Chromium and Firefox take every offer and answer of ours: their own signalling, without media.

What FakeBrowser asserts, real PeerConnections check themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sfu.base.ids import Mid, SessionId
from sfu.negotiation.requests import TrackRequest
from tests.browser.driver import BrowserMissing, BrowserName, Driver, Page
from tests.browser.site import pages_site
from tests.sfu.negotiation.test_life import publisher
from tests.sfu.negotiation.world import World, described, failed, local, offer, remote

pytestmark = pytest.mark.browser

_OPEN = """async () => {
  const video = { width: 320, height: 180 };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video });
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  window.it = { stream, pc, events: [], restart: false };
  pc.ontrack = (event) => it.events.push(event.transceiver.mid);
}"""
_ADD = """async ({ kind, direction }) => {
  const track = it.stream.getTracks().find((one) => one.kind === kind).clone();
  it.pc.addTransceiver(track, { direction });
}"""
_STOP = "async (mid) => { it.pc.getTransceivers().find((one) => one.mid === mid).stop(); }"
_OFFER = """async () => {
  await it.pc.setLocalDescription(await it.pc.createOffer({ iceRestart: it.restart }));
  it.restart = false;
  return it.pc.localDescription.sdp;
}"""
_ACCEPT = "async (sdp) => { await it.pc.setRemoteDescription({ type: 'answer', sdp }); }"
_ANSWER = """async (sdp) => {
  it.events = [];
  await it.pc.setRemoteDescription({ type: "offer", sdp });
  await it.pc.setLocalDescription(await it.pc.createAnswer());
  return { sdp: it.pc.localDescription.sdp, events: it.events };
}"""
_STATE = """async () => Object.fromEntries(
  it.pc.getTransceivers().filter((one) => !one.stopped && one.mid !== null)
    .map((one) => [one.mid, one.currentDirection]))"""


class RealCall:
    """A PeerConnection of a page with its session."""

    def __init__(self, world: World, page: Page) -> None:
        self.world = world
        self.page = page
        self.session: SessionId = world.session()
        self._named = 0

    async def run(self, js: str, arg: Any = None) -> Any:
        """Call JavaScript in the page."""
        return await self.page.evaluate(js, arg)

    async def push(self, kind: str, *, bidirectional: bool = False) -> Mid:
        """Publish by the client's offer."""
        await self.run(_ADD, {"kind": kind, "direction": "sendrecv" if bidirectional else "sendonly"})
        sdp = str(await self.run(_OFFER))
        known = {mline.mid for mline in self.world.records[self.session].mlines if not mline.rejected}
        (mid,) = (
            media.mid for media in described(offer(sdp)).media if not media.stopped and media.mid not in known
        )
        self._named += 1
        entry = local(mid, f"track-{self._named}", bidirectional=bidirectional)
        response = self.world.tracks(self.session, entry, sdp=sdp)
        assert failed(response.tracks) == [None]
        assert response.description is not None
        await self.run(_ACCEPT, response.description.sdp)
        return mid

    async def pull(self, *tracks: TrackRequest) -> list[Mid]:
        """Pull by our offer; every pull makes a `track` event (api.md 5.9)."""
        response = self.world.tracks(self.session, *tracks)
        got = [Mid(item.mid or "") for item in response.tracks if item.error is None]
        assert response.description is not None
        answered = await self.run(_ANSWER, response.description.sdp)
        assert sorted(answered["events"]) == sorted(got)
        assert self.world.answer(self.session, str(answered["sdp"])).tracks == ()
        return got

    async def close(self, *mids: Mid, stopped: int | None = None) -> None:
        """Close negotiated; only the first `stopped` transceivers are stopped."""
        for mid in mids[:stopped]:
            await self.run(_STOP, mid)
        response = self.world.close(self.session, *mids, sdp=str(await self.run(_OFFER)))
        assert set(failed(response.tracks)) == {None}
        assert response.description is not None
        await self.run(_ACCEPT, response.description.sdp)

    async def state(self) -> dict[str, str]:
        """The current direction of each transceiver, by mid."""
        return dict(await self.run(_STATE))


@pytest_asyncio.fixture
async def driver() -> AsyncIterator[Driver]:
    """The process that drives the browsers."""
    try:
        started = await Driver.start()
    except BrowserMissing as missing:
        pytest.skip(str(missing))
    yield started
    await started.close()


@pytest.mark.parametrize(("name", "source"), [("chromium", "firefox-153"), ("firefox", "chromium-156")])
async def test_a_browser_takes_all_that_we_write(name: BrowserName, source: str, driver: Driver) -> None:
    """Fifty cycles of close and reuse in both offer directions: the SDP stops growing."""
    try:
        browser = await driver.launch(name)
    except BrowserMissing as missing:
        pytest.skip(str(missing))
    async with pages_site() as site:
        world = World()
        call = RealCall(world, await browser.open(f"{site.url}/pages/blank.html"))
        await call.run(_OPEN)
        room = publisher(world, source)
        both = (remote(room, "mic"), remote(room, "cam"))
        pulled = await call.pull(*both)
        assert pulled == ["0", "1"]
        pushed = [await call.push("audio"), await call.push("video")]
        pulled += await call.pull(*both)
        sizes: list[int] = []
        for cycle in range(50):
            half, pulled = pulled[:2], pulled[2:]
            if cycle % 3 == 0:
                await call.close(*half)
            elif cycle % 3 == 1:
                await call.close(*half, stopped=1)
            else:
                world.close(call.session, *half)
            await call.close(pushed.pop(0))
            pushed.append(await call.push("audio" if cycle % 2 == 0 else "video"))
            pulled += await call.pull(*both)
            sizes.append(len(world.records[call.session].mlines))
        assert sizes[-1] == sizes[10]
        state = await call.state()
        assert {state[mid] for mid in pulled} == {"recvonly"}
        assert {state[mid] for mid in pushed} == {"sendonly"}


@pytest.mark.parametrize("name", ["chromium", "firefox"])
async def test_a_browser_takes_what_is_rare(name: BrowserName, driver: Driver) -> None:
    """A refused data channel, a bidirectional transceiver, our push offer, simulcast kept, ICE restart."""
    try:
        browser = await driver.launch(name)
    except BrowserMissing as missing:
        pytest.skip(str(missing))
    async with pages_site() as site:
        world = World()
        call = RealCall(world, await browser.open(f"{site.url}/pages/blank.html"))
        await call.run(_OPEN)
        room = publisher(world, "chromium-156")
        await call.run("async () => { it.channel = it.pc.createDataChannel('x'); }")
        first = world.tracks(call.session, sdp=str(await call.run(_OFFER)))
        assert first.description is not None
        await call.run(_ACCEPT, first.description.sdp)
        await call.run(
            """async () => {
              const sendEncodings = [{ rid: "a" }, { rid: "b", scaleResolutionDownBy: 2 }];
              it.pc.addTransceiver(it.stream.getVideoTracks()[0], { direction: "sendonly", sendEncodings });
            }"""
        )
        sdp = str(await call.run(_OFFER))
        (mid,) = (media.mid for media in described(offer(sdp)).media if media.rids)
        pushed = world.tracks(call.session, local(mid, "layers"), sdp=sdp)
        assert pushed.description is not None
        await call.run(_ACCEPT, pushed.description.sdp)
        both_ways = await call.push("audio", bidirectional=True)
        assert (await call.state())[both_ways] == "sendrecv"
        attached = world.tracks(call.session, remote(room, "mic", mid="#track-1"))
        assert (failed(attached.tracks), attached.description) == ([None], None)
        await call.pull(remote(room, "cam"))
        mline = world.records[call.session].mline(mid)
        assert mline is not None
        assert mline.receiving.rids == ("a", "b")  # our offer did not end simulcast
        asked = world.tracks(call.session, local(None, "ours", kind="audio"))
        assert asked.description is not None
        answered = await call.run(_ANSWER, asked.description.sdp)
        assert [item.track for item in world.answer(call.session, answered["sdp"]).tracks] == ["ours"]
        await call.run("async () => { it.restart = true; }")
        restarted = world.restart(call.session, str(await call.run(_OFFER)))
        assert restarted.description is not None
        await call.run(_ACCEPT, restarted.description.sdp)
        assert world.records[call.session].generation == 1
