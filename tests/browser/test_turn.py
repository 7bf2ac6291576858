"""Browsers that may use nothing but a relay publish to the SFU and pull from it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from sfu.directory.files import DataDirectory
from sfu.turn.keys import TurnKeys
from tests.browser.conftest import OpenPage
from tests.browser.driver import BrowserName
from tests.browser.peer import BrowserPeer, eventually
from tests.browser.server import Orchard
from turn.keys import IssuedKey, new_key

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def relay_only(orchard: Orchard, issued: IssuedKey, transport: str) -> dict[str, Any]:
    """What RTCPeerConnection is made with: the server's answer for one transport, no way but the relay."""
    async with httpx.AsyncClient() as http:
        answer = await http.post(
            f"{orchard.url}/v1/turn/keys/{issued.key.id}/credentials/generate-ice-servers",
            headers={"authorization": f"Bearer {issued.token}"},
            content='{"ttl": 600}',
        )
    assert answer.status_code == 201
    (turn,) = (server for server in answer.json()["iceServers"] if "username" in server)
    urls = [url for url in turn["urls"] if url.endswith(f"?transport={transport}")]
    assert urls
    return {"iceServers": [{**turn, "urls": urls}], "iceTransportPolicy": "relay"}


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_a_call_goes_through_the_relay(
    browser: BrowserName, transport: str, open_page: OpenPage, tmp_path: Path
) -> None:
    issued = new_key("mine", time.time())
    TurnKeys(DataDirectory(tmp_path / "data")).change(lambda keys: keys.update({issued.key.id: issued.key}))
    orchard = await Orchard.start(tmp_path, "--turn-udp", ":0", "--turn-tcp", ":0")
    try:
        config = await relay_only(orchard, issued, transport)
        publisher = await BrowserPeer.open(await open_page(browser), orchard, "publisher", config=config)
        await publisher.push({"name": "audio", "kind": "audio"}, {"name": "video", "kind": "video"})
        await publisher.connected()
        subscriber = await BrowserPeer.open(await open_page(browser), orchard, "subscriber", config=config)
        pulled = await subscriber.pull(
            *({"sessionId": publisher.session_id, "trackName": name} for name in ("audio", "video"))
        )
        assert [item.get("errorCode") for item in pulled] == [None, None]
        await subscriber.sound_rises(pulled[0]["mid"])
        await subscriber.frames_rise(pulled[1]["mid"], by=30)
        for peer in (publisher, subscriber):
            pairs = await eventually(
                lambda peer=peer: peer.call("pairs"), bool, "a pair of candidates is in use"
            )
            assert {pair["local"] for pair in pairs} == {"relay"}
        for peer in (publisher, subscriber):
            await peer.end()
        log = orchard.log.read_text()
        allocated = [json.loads(line) for line in log.splitlines() if '"turn.allocated"' in line]
        assert len(allocated) >= 2
        assert {event["transport"] for event in allocated} == {transport}
        assert "turn.permitted" in log
    finally:
        await orchard.stop()
