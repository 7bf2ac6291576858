"""The browser quirks of sfu.md 5.3 that a real browser of today can show, a test each."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.driver import BrowserName, Page
from tests.browser.peer import BrowserPeer, eventually
from tests.browser.server import Orchard

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

BOTH: list[BrowserName] = ["chromium", "firefox"]
VIDEO = {"name": "video", "kind": "video", "codecs": ["VP8"]}


async def run(page: Page, body: str, **arguments: Any) -> Any:
    """Run statements with `session(name)` at hand, which is the SfuSession of a peer of the page."""
    js = f"""async (arg) => {{
        const {{ sessionOf: session }} = await import('/pages/peers.js');
        {body}
    }}"""
    return await page.evaluate(js, arguments)


async def open_peer(
    open_page: OpenPage, orchard: Orchard, browser: BrowserName, name: str = "peer"
) -> BrowserPeer:
    """A session in a page of its own."""
    return await BrowserPeer.open(await open_page(browser), orchard, name)


async def watch(open_page: OpenPage, orchard: Orchard, publisher: BrowserPeer, name: str = "video") -> Any:
    """A Chromium that receives a track: the peer and the mid."""
    subscriber = await open_peer(open_page, orchard, "chromium", "subscriber")
    (item,) = await subscriber.pull({"sessionId": publisher.session_id, "trackName": name})
    assert item.get("errorCode") is None
    await subscriber.frames_rise(item["mid"])
    return subscriber, item["mid"]


@pytest.mark.parametrize("browser", BOTH)
async def test_a_publication_that_pauses_and_goes_on_is_seen_again(
    browser: BrowserName, open_page: OpenPage, orchard: Orchard
) -> None:
    """Chromium drops and returns `a=ssrc` of an inactive section; Firefox leaves `ssrc-group:FID` behind."""
    publisher = await open_peer(open_page, orchard, browser)
    await publisher.push(VIDEO)
    subscriber, mid = await watch(open_page, orchard, publisher)
    for direction in ("inactive", "sendonly"):
        await publisher.call("setDirection", mid="0", direction=direction)
    await publisher.frames_sent_rise("0")
    await subscriber.frames_rise(mid)


@pytest.mark.parametrize("browser", BOTH)
async def test_a_received_section_that_was_closed_shows_a_picture_when_it_is_used_again(
    browser: BrowserName, open_page: OpenPage, orchard: Orchard
) -> None:
    """An m-line that comes back has a fresh SSRC and a new mid."""
    publisher = await open_peer(open_page, orchard, "chromium", "publisher")
    await publisher.push(VIDEO)
    subscriber = await open_peer(open_page, orchard, browser)
    # Chromium can't offer a connection whose sections are all rejected: something else must stay.
    await subscriber.push({"name": "own", "kind": "audio"})
    pull = {"sessionId": publisher.session_id, "trackName": "video"}
    mids: list[str] = []
    for _ in range(3):
        (item,) = await subscriber.pull(pull)
        mids.append(item["mid"])
        await subscriber.frames_rise(item["mid"])
        await subscriber.close(item["mid"])
    assert len(set(mids)) == 3


@pytest.mark.parametrize("browser", BOTH)
async def test_an_answer_without_ssrc_lines_is_bound_by_mid(
    browser: BrowserName, open_page: OpenPage, orchard: Orchard
) -> None:
    """Chromium answers a receiving offer without `a=ssrc` that has an msid: MID binds, SSRC is a hint."""
    publisher = await open_peer(open_page, orchard, browser)
    (item,) = await publisher.push_by_server_offer({"name": "video", "kind": "video"})
    assert item.get("errorCode") is None
    await watch(open_page, orchard, publisher)


@pytest.mark.parametrize("browser", BOTH)
async def test_all_simulcast_layers_are_sent_since_mid_is_always_negotiated(
    browser: BrowserName, open_page: OpenPage, orchard: Orchard
) -> None:
    """Without MID Chromium sends one layer; Firefox's layer order comes from `a=simulcast`."""
    publisher = await open_peer(open_page, orchard, browser)
    encodings = [
        {"rid": "a"},
        {"rid": "b", "scaleResolutionDownBy": 2},
        {"rid": "c", "scaleResolutionDownBy": 4},
    ]
    size = {"width": 1280, "height": 720, "fps": 15}  # a smaller picture gets fewer layers
    await publisher.push({**VIDEO, "encodings": encodings, "size": size})

    async def layers() -> dict[str, int]:
        entries = (await publisher.stats())["outbound"]
        return {entry["rid"]: entry.get("packets") or 0 for entry in entries if entry.get("rid")}

    await eventually(layers, lambda now: len(now) == 3 and min(now.values()) > 0, "three layers are sent")
    await watch(open_page, orchard, publisher)


async def test_a_rejected_section_leaves_the_bundle_group(open_page: OpenPage, orchard: Orchard) -> None:
    """Chromium refuses an answer whose BUNDLE group names what the offer's did not, or what is rejected."""
    peer = await open_peer(open_page, orchard, "chromium")
    await run(peer.page, "session('peer').pc.createDataChannel('events');")
    (item,) = await peer.push(VIDEO)
    assert item.get("errorCode") is None
    remote = (await peer.call("descriptions"))["remote"]
    assert re.search(r"^m=application 0 ", remote, re.MULTILINE)
    rejected = re.search(r"m=application.*?a=mid:(\S+)", remote, re.DOTALL)
    group = re.search(r"^a=group:BUNDLE(.*)$", remote, re.MULTILINE)
    assert rejected is not None
    assert group is not None
    assert rejected[1] not in group[1].split()
    await watch(open_page, orchard, peer)


@pytest.mark.parametrize("browser", BOTH)
async def test_our_offers_have_what_both_browsers_want(
    browser: BrowserName, open_page: OpenPage, orchard: Orchard
) -> None:
    """Two distinct msid tokens, a FID group for RTX, feedback said aloud, mids, one extension id per URI."""
    publisher = await open_peer(open_page, orchard, "chromium", "publisher")
    await publisher.push({"name": "audio", "kind": "audio"}, VIDEO)
    subscriber = await open_peer(open_page, orchard, browser)
    await subscriber.pull(
        {"sessionId": publisher.session_id, "trackName": "audio"},
        {"sessionId": publisher.session_id, "trackName": "video"},
    )
    offer = (await subscriber.call("descriptions"))["remote"]
    head, audio, video = re.split(r"(?m)^m=", offer)
    assert "a=ice-lite" in head
    for section in (audio, video):
        msid = re.search(r"^a=msid:(\S+) (\S+)", section, re.MULTILINE)
        assert msid is not None
        assert msid[1] != msid[2]
        assert "urn:ietf:params:rtp-hdrext:sdes:mid" in section
    ssrcs = re.search(r"^a=ssrc-group:FID (\d+) (\d+)", video, re.MULTILINE)
    assert ssrcs is not None
    assert "a=rtcp-fb:" in video
    assert re.search(r"^a=rtcp-fb:\d+ nack\r?$", video, re.MULTILINE)
    assert re.search(r"^a=rtcp-fb:\d+ nack pli\r?$", video, re.MULTILINE)
    ids = set(re.findall(r"^a=extmap:(\d+)\S* (\S+)", offer, re.MULTILINE))
    assert len({number for number, _ in ids}) == len(ids)


async def test_firefox_is_told_that_it_may_send_nack(open_page: OpenPage, orchard: Orchard) -> None:
    """Firefox sends feedback only where the answer names it; Chromium does so by itself."""
    publisher = await open_peer(open_page, orchard, "firefox")
    await publisher.push(VIDEO)
    answer = (await publisher.call("descriptions"))["remote"]
    assert re.search(r"^a=rtcp-fb:\d+ nack\r?$", answer, re.MULTILINE)
    assert re.search(r"^a=rtcp-fb:\d+ nack pli\r?$", answer, re.MULTILINE)
    assert re.search(r"^a=rtcp-fb:\d+ ccm fir\r?$", answer, re.MULTILINE)


@pytest.mark.parametrize("browser", BOTH)
async def test_no_packet_comes_before_the_answer(
    browser: BrowserName, open_page: OpenPage, orchard: Orchard
) -> None:
    """Media of an SSRC that Firefox does not know yet breaks its video for good; the answer is late here."""
    publisher = await open_peer(open_page, orchard, "chromium", "publisher")
    await publisher.push(VIDEO)
    await publisher.connected()
    subscriber = await open_peer(open_page, orchard, browser)
    await subscriber.push({"name": "own", "kind": "audio"})  # the transport is up before the pull
    await subscriber.connected()
    late = """
        const peer = session('peer');
        const { pc, id } = peer;
        const headers = { authorization: `Bearer ${arg.secret}` };
        const call = async (method, path, body) => (await fetch(`${arg.root}/sessions/${id}/${path}`,
            { method, headers, body: JSON.stringify(body) })).json();
        const tracks = [{ location: 'remote', sessionId: arg.publisher, trackName: 'video' }];
        const answer = await call('POST', 'tracks/new', { tracks });
        await new Promise((resolve) => setTimeout(resolve, 1500));
        const inbound = [...(await pc.getStats()).values()].filter(({ type }) => type === 'inbound-rtp');
        await pc.setRemoteDescription(answer.sessionDescription);
        await pc.setLocalDescription();
        const { type, sdp } = pc.localDescription;
        await call('PUT', 'renegotiate', { sessionDescription: { type, sdp } });
        const { mid } = answer.tracks[0];
        const { receiver } = pc.getTransceivers().find((one) => one.mid === mid);
        const video = document.createElement('video');
        video.muted = true;
        video.srcObject = new MediaStream([receiver.track]);
        document.body.append(video);
        await video.play();
        return { mid, early: inbound.reduce((sum, entry) => sum + (entry.packetsReceived ?? 0), 0) };
    """
    result = await run(
        subscriber.page, late, root=orchard.root, secret=orchard.secret, publisher=publisher.session_id
    )
    assert result["early"] == 0
    await subscriber.frames_rise(result["mid"])


@pytest.mark.parametrize("browser", BOTH)
async def test_createoffer_called_twice_does_no_harm(
    browser: BrowserName, open_page: OpenPage, orchard: Orchard
) -> None:
    """Mids are only stable after setLocalDescription."""
    peer = await open_peer(open_page, orchard, browser)
    twice = """
        const { pc } = session('peer');
        pc.addTransceiver('audio', { direction: 'inactive' });
        await pc.createOffer();
        await pc.createOffer();
    """
    await run(peer.page, twice)
    (item,) = await peer.push(VIDEO)
    assert item.get("errorCode") is None
    await watch(open_page, orchard, peer)


@pytest.mark.parametrize("browser", BOTH)
async def test_payload_types_stay_one_table_over_pushes_and_pulls_of_other_codecs(
    browser: BrowserName, open_page: OpenPage, orchard: Orchard
) -> None:
    """api.md 4.8: RTX `apt` and payload types stay consistent when a pull and a push meet."""
    publisher = await open_peer(open_page, orchard, "firefox", "publisher")
    await publisher.push({"name": "vp9", "kind": "video", "codecs": ["VP9"]}, VIDEO)
    peer = await open_peer(open_page, orchard, browser)
    pulls = [{"sessionId": publisher.session_id, "trackName": name} for name in ("vp9", "video")]
    first, second = await peer.pull(*pulls)
    await peer.push(VIDEO)
    (third,) = await peer.pull(pulls[0])
    for item in (first, second, third):
        await peer.frames_rise(item["mid"])
    for description in (await peer.call("descriptions")).values():
        meaning: dict[str, set[str]] = {}
        for pt, codec in re.findall(r"^a=rtpmap:(\d+) (\S+)", description, re.MULTILINE):
            meaning.setdefault(pt, set()).add(codec.lower())
        assert all(len(codecs) == 1 for codecs in meaning.values())
    await watch(open_page, orchard, peer)


@pytest.mark.parametrize("browser", BOTH)
async def test_ice_restart_keeps_the_call(
    browser: BrowserName, open_page: OpenPage, orchard: Orchard
) -> None:
    publisher = await open_peer(open_page, orchard, browser)
    await publisher.push(VIDEO)
    subscriber, mid = await watch(open_page, orchard, publisher)
    before = (await publisher.call("descriptions"))["remote"]
    await publisher.call("restartIce")
    after = (await publisher.call("descriptions"))["remote"]
    ufrags = [re.findall(r"a=ice-ufrag:(\S+)", text)[0] for text in (before, after)]
    assert ufrags[0] != ufrags[1]
    await subscriber.frames_rise(mid, by=30)
    assert (await publisher.stats())["transport"]["state"] == "connected"
