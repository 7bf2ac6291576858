"""Browsers that may use nothing but a relay: through the SFU, and with each other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.browser.authority import Authority
from tests.browser.conftest import OpenPage
from tests.browser.driver import BrowserName, Page
from tests.browser.peer import BrowserPeer, eventually, uses_relay
from tests.browser.server import Orchard, turn_key
from turn.keys import IssuedKey

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

BOTH: list[BrowserName] = ["chromium", "firefox"]
HOST = "localhost"


@dataclass(frozen=True, slots=True)
class Relays:
    """A server with TURN over UDP, TCP and TLS, and a TURN key of it."""

    orchard: Orchard
    issued: IssuedKey

    @classmethod
    async def start(cls, folder: Path, *certificate: str) -> Relays:
        """Start one on ports that the system chooses; `certificate` are the flags that TLS takes."""
        issued = turn_key(folder / "data")
        anywhere = [text for flag in ("udp", "tcp", "tls") for text in (f"--turn-{flag}", ":0")]
        return cls(await Orchard.start(folder, *anywhere, "--turn-host", HOST, *certificate), issued)

    async def ice_servers(self) -> list[dict[str, Any]]:
        """What the server hands out."""
        async with httpx.AsyncClient() as http:
            answer = await http.post(
                f"{self.orchard.url}/v1/turn/keys/{self.issued.key.id}/credentials/generate-ice-servers",
                headers={"authorization": f"Bearer {self.issued.token}"},
                json={"ttl": 600},
            )
        assert answer.status_code == 201
        return answer.json()["iceServers"]

    async def only(self, transport: str) -> dict[str, Any]:
        """What RTCPeerConnection is made with: one URL of those handed out, no way but the relay."""
        (turn,) = (server for server in await self.ice_servers() if "username" in server)
        begin, end = {
            "udp": ("turn:", "=udp"),
            "tcp": ("turn:", "=tcp"),
            "tls": ("turns:", "=tcp"),
        }[transport]
        (url,) = (url for url in turn["urls"] if url.startswith(begin) and url.endswith(end))
        return {"iceServers": [{**turn, "urls": [url]}], "iceTransportPolicy": "relay"}

    def logged(self, event: str, config: dict[str, Any]) -> list[dict[str, Any]]:
        """What the server has logged of this kind about the credential of `only`."""
        lines = (line for line in self.orchard.log.read_text().splitlines() if f'"{event}"' in line)
        (server,) = config["iceServers"]
        return [entry for entry in map(json.loads, lines) if entry.get("user") == server["username"]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def relays(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Relays]:
    """One whose certificate the browsers trust."""
    certificate, key = authority.issue(HOST)
    started = await Relays.start(
        tmp_path_factory.mktemp("relays"), "--turn-certificate", str(certificate), "--turn-key", str(key)
    )
    yield started
    await started.orchard.stop()


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("browser", BOTH)
async def test_a_call_goes_through_the_relay(
    browser: BrowserName, transport: str, open_page: OpenPage, relays: Relays
) -> None:
    config = await relays.only(transport)
    page = await open_page(browser)
    publisher = await BrowserPeer.open(page, relays.orchard, "publisher", config=config)
    await publisher.push({"name": "audio", "kind": "audio"}, {"name": "video", "kind": "video"})
    await publisher.connected()
    subscriber = await BrowserPeer.open(page, relays.orchard, "subscriber", config=config)
    pulled = await subscriber.pull(
        *({"sessionId": publisher.session_id, "trackName": name} for name in ("audio", "video"))
    )
    assert [item.get("errorCode") for item in pulled] == [None, None]
    await subscriber.sound_rises(pulled[0]["mid"])
    await subscriber.frames_rise(pulled[1]["mid"], by=30)
    for peer in (publisher, subscriber):
        pairs = await eventually(lambda peer=peer: peer.call("pairs"), bool, "a pair of candidates is in use")
        assert {pair["local"] for pair in pairs} == {"relay"}
    allocated = relays.logged("turn.allocated", config)
    assert len(allocated) >= 2
    assert {event["transport"] for event in allocated} == {transport}
    assert relays.logged("turn.permitted", config)


@pytest.mark.parametrize("browser", BOTH)
async def test_no_relay_is_used_whose_certificate_is_for_another_name(
    browser: BrowserName, open_page: OpenPage, relays: Relays
) -> None:
    page = await open_page(browser)
    (server,) = (await relays.only("tls"))["iceServers"]
    assert await uses_relay(page, [server])
    elsewhere = {**server, "urls": [url.replace(HOST, "127.0.0.1") for url in server["urls"]]}
    assert not await uses_relay(page, [elsewhere])


@pytest.mark.parametrize("browser", BOTH)
async def test_no_relay_is_used_whose_certificate_nobody_vouches_for(
    browser: BrowserName, open_page: OpenPage, tmp_path: Path
) -> None:
    strange = await Relays.start(tmp_path, "--turn-certificate", "self-made")
    try:
        config = await strange.only("tls")
        assert not await uses_relay(await open_page(browser), config["iceServers"])
        assert not strange.logged("turn.allocated", config)
    finally:
        await strange.orchard.stop()


class PeerToPeer:
    """Two PeerConnections that reach each other; the test carries their descriptions."""

    def __init__(self, caller: Page, callee: Page) -> None:
        self._pages = {"caller": caller, "callee": callee}

    async def _do(self, name: str, function: str, **arguments: Any) -> Any:
        js = f"async (arg) => (await import('/pages/relays.js')).{function}(arg)"
        return await self._pages[name].evaluate(js, {"name": name, **arguments})

    async def connect(self, caller: dict[str, Any], callee: dict[str, Any]) -> None:
        """Offer and answer, with what each PeerConnection is made with."""
        offer = await self._do("caller", "offer", config=caller)
        answer = await self._do("callee", "answer", config=callee, description=offer)
        await self._do("caller", "accept", description=answer)

    async def say(self, name: str, text: str) -> None:
        """Say a text to the other end, as soon as that can be done."""
        await eventually(lambda: self._do(name, "say", text=text), bool, f"{name} can speak")

    async def sees(self, name: str, text: str) -> dict[str, Any]:
        """Wait for a text and a moving picture from the other end."""
        return await eventually(
            lambda: self._do(name, "seen"),
            lambda seen: text in seen["texts"] and seen["frames"] >= 20,
            f"{name} hears and sees the other",
        )

    async def end(self) -> None:
        """Close both."""
        for name in self._pages:
            await self._do(name, "endAll")


@pytest.mark.parametrize(
    ("caller", "callee", "transports"),
    [
        ("chromium", "chromium", ("udp", "tls")),
        ("firefox", "firefox", ("udp", "tcp")),
        ("chromium", "firefox", ("udp", "udp")),
        ("firefox", "chromium", ("tls", "tcp")),
    ],
)
async def test_two_browsers_meet_through_a_relay_each(
    caller: BrowserName,
    callee: BrowserName,
    transports: tuple[str, str],
    open_page: OpenPage,
    relays: Relays,
) -> None:
    configs = [await relays.only(transport) for transport in transports]
    here = await open_page(caller)
    call = PeerToPeer(here, here if caller == callee else await open_page(callee))
    await call.connect(*configs)
    await call.say("caller", "hello")
    await call.say("callee", "good day")
    for name, text in (("caller", "good day"), ("callee", "hello")):
        seen = await call.sees(name, text)
        assert {pair[0] for pair in seen["pairs"]} == {"relay"}
    for config, transport in zip(configs, transports, strict=True):
        assert {event["transport"] for event in relays.logged("turn.allocated", config)} == {transport}
        assert relays.logged("turn.permitted", config)
    await call.end()
