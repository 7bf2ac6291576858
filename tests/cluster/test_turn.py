"""Relays on the ports that networks let out, and calls from networks that let out little."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.browser.authority import Authority
from tests.browser.driver import BrowserName, Page
from tests.browser.peer import uses_relay
from tests.cluster.conftest import Worlds, page_in
from tests.cluster.lab import SERVER_V4, Lab, Uplink
from tests.cluster.mirror import Mirror
from tests.cluster.world import API_PORT, PAGES_PORT, World
from turn.keys import IssuedKey

pytestmark = [pytest.mark.netns, pytest.mark.browser]

HOST = "turn.example.org"
SECOND_V4 = "10.70.0.3"  # of the server too: TCP and TLS can't both have port 443 of one address
CONNECTED_MS = 5_000  # a quarter of a second where nothing else runs
BOTH: list[BrowserName] = ["chromium", "firefox"]


@dataclass(frozen=True, slots=True)
class Relays:
    """A world with TURN and a page of a client's behind a router; the page knows the server by HOST."""

    world: World
    key: IssuedKey
    uplink: Uplink
    page: Page

    @classmethod
    async def start(
        cls, lab: Lab, worlds: Worlds, folder: Path, browser: BrowserName, *listens: str
    ) -> Relays:
        """`listens` are the flags that say where TURN is heard."""
        authority = Authority(folder)
        certificate, key = authority.issue(HOST)
        tls = ("--turn-certificate", str(certificate), "--turn-key", str(key), "--turn-host", HOST)
        world = await worlds.start(SERVER_V4, *listens, *tls, "--turn-strict-ports", "true")
        uplink = lab.uplink(lab.client(), ipv6=False)
        uplink.client.know(HOST, SERVER_V4)
        page = await page_in(world, uplink, browser, trust=authority.trusted_in(folder / "trust"))
        return cls(world, world.turn_key(), uplink, page)

    async def credential(self) -> dict[str, Any]:
        """The part of what is handed out that has the credential, and the URLs that it is for."""
        (turn,) = (server for server in await self.world.ice_servers(self.key) if "username" in server)
        return turn


def turn_urls() -> dict[tuple[str, int], str]:
    """A URL for each transport and port of the test below."""
    return {
        **{("udp", port): f"turn:{SERVER_V4}:{port}?transport=udp" for port in (53, 80, 443, 853, 3478)},
        **{("tcp", port): f"turn:{SECOND_V4}:{port}?transport=tcp" for port in (53, 80, 443, 853, 3478)},
        **{("tls", port): f"turns:{HOST}:{port}?transport=tcp" for port in (53, 80, 443, 853, 5349)},
    }


REFUSED: dict[BrowserName, set[tuple[str, int]]] = {
    "chromium": {(kind, port) for kind in ("udp", "tcp", "tls") for port in (53, 853)},
    "firefox": set(),
}
"""Ports at which a browser will not use a relay (docs/howto/turn.md has the same as a table)."""


@pytest.mark.parametrize("browser", BOTH)
async def test_each_port_is_used_or_refused_as_the_docs_say(
    browser: BrowserName, lab: Lab, worlds: Worlds, tmp_path: Path
) -> None:
    lab.server.ip(f"addr add {SECOND_V4}/24 dev eth0")
    urls = turn_urls()
    hosts = {"udp": SERVER_V4, "tcp": SECOND_V4, "tls": SERVER_V4}
    listens = (flag for kind, port in urls for flag in (f"--turn-{kind}", f"{hosts[kind]}:{port}"))
    relays = await Relays.start(lab, worlds, tmp_path, browser, *listens)
    turn = await relays.credential()

    few = asyncio.Semaphore(3)  # two cores encode and decode them

    async def is_used(url: str) -> bool:
        servers = [{**turn, "urls": [url]}]
        if not await uses_relay(relays.page, servers):
            return False
        config = {"iceServers": servers, "iceTransportPolicy": "relay"}
        async with few:
            mirror = await Mirror.open(relays.page, relays.world, url, config=config)
            await mirror.peer.connected()
            await mirror.pull()
            await mirror.look()
            await mirror.peer.end()
        return True

    used = await asyncio.gather(*map(is_used, urls.values()))
    assert {at for at, is_used in zip(urls, used, strict=True) if not is_used} == REFUSED[browser]


@pytest.mark.parametrize("browser", BOTH)
async def test_a_call_connects_from_a_network_that_lets_little_out(
    browser: BrowserName, lab: Lab, worlds: Worlds, tmp_path: Path
) -> None:
    """First all but UDP, then nothing but TCP 443. The page takes the ICE servers as they are handed out."""
    listens = ("--turn-tcp", "3478", "--turn-tcp", "80", "--turn-tls", "5349", "--turn-tls", "443")
    relays = await Relays.start(lab, worlds, tmp_path, browser, *listens)
    config = {"iceServers": await relays.world.ice_servers(relays.key)}
    for ports, carriers in (((3478, 80, 5349, 443), {"tcp", "tls"}), ((443,), {"tls"})):
        # Beside the relays the API and the tests' pages, which would be on TCP 443 too, of other hosts.
        firewall = lab.let_out_only(relays.uplink, *ports, API_PORT, PAGES_PORT)
        mirror = await Mirror.open(relays.page, relays.world, config=config)
        assert await mirror.peer.connected() < CONNECTED_MS
        await mirror.pull()
        await mirror.look()
        pairs = await mirror.peer.call("pairs")
        assert {pair["local"] for pair in pairs} == {"relay"}
        assert {pair["protocol"] for pair in pairs} <= carriers
        assert firewall.dropped() > 0
        await mirror.peer.end()
        firewall.end()
