"""The demo page in real browsers: what a visitor sees, also when something is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from meeting.app import create_app
from tests.browser.conftest import Browsers
from tests.browser.driver import Browser, BrowserName, Camera, Driver, Page
from tests.browser.peer import eventually
from tests.browser.server import APP_ID, SECRET, Orchard
from tests.browser.site import WebServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

BOTH: list[BrowserName] = ["chromium", "firefox"]

STATE = """() => {
    const byId = (id) => document.getElementById(id);
    return {
        status: byId("status").textContent,
        problem: byId("problem").hidden ? "" : byId("problem-title").textContent,
        text: byId("problem-text").textContent,
        testPicture: !byId("problem-test-picture").hidden,
        retry: !byId("problem-retry").hidden,
        remote: byId("remote").videoWidth,
        figures: Object.fromEntries([...document.querySelectorAll("tbody tr")].map((row) =>
            [row.parentElement.id + " " + row.children[0].textContent, row.children[2].textContent])),
        connection: byId("connection-figures").textContent,
    };
}"""


async def state(page: Page) -> dict[str, Any]:
    """What the page shows."""
    return await page.evaluate(STATE)


async def click(page: Page, button: str) -> None:
    """Press a button by its id."""
    await page.evaluate("(id) => document.getElementById(id).click()", button)


async def shows(page: Page, key: str, value: str, *, deadline_s: float = 20) -> dict[str, Any]:
    """Wait until the page shows `value`."""
    return await eventually(
        lambda: state(page), lambda now: value in str(now[key]), f"{key}: {value}", deadline_s=deadline_s
    )


def app_without_server() -> Starlette:
    """The demo when the server's API can't be reached."""

    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    client = httpx.AsyncClient(transport=httpx.MockTransport(refuse), base_url="http://nowhere")
    return create_app(client, APP_ID, SECRET)


@pytest_asyncio.fixture(loop_scope="session")
async def lonely() -> AsyncIterator[WebServer]:
    """A demo page whose server is gone."""
    async with WebServer(app_without_server()) as server:
        yield server


async def with_camera(driver: Driver, camera: Camera, *flags: str) -> Browser:
    """A Chromium of the test's own."""
    return await driver.launch("chromium", camera=camera, flags=list(flags))


@pytest.mark.parametrize("name", BOTH)
async def test_a_server_that_is_gone_is_said_and_tried_again(
    name: BrowserName, browsers: Browsers, lonely: WebServer
) -> None:
    page = await (await browsers.get(name)).open(f"{lonely.url}/echo")
    await click(page, "start")
    now = await shows(page, "problem", "The server does not answer")
    assert "tries again" in now["text"]
    assert now["retry"]
    await page.close()


async def test_a_machine_without_a_camera_is_offered_a_test_picture(
    driver: Driver, lonely: WebServer
) -> None:
    browser = await with_camera(driver, "none")
    page = await browser.open(f"{lonely.url}/echo")
    await click(page, "start")
    now = await shows(page, "problem", "No camera or microphone found")
    assert now["testPicture"]
    await click(page, "problem-test-picture")
    await shows(page, "problem", "The server does not answer")
    await browser.close()


async def test_a_camera_that_is_forbidden_is_said_so(driver: Driver, lonely: WebServer) -> None:
    browser = await with_camera(driver, "denied")
    page = await browser.open(f"{lonely.url}/echo")
    await click(page, "start")
    now = await shows(page, "problem", "Camera and microphone are blocked")
    assert now["retry"]
    await browser.close()


async def test_an_insecure_address_is_said_with_the_way_out(driver: Driver, lonely: WebServer) -> None:
    browser = await with_camera(driver, "fake", "--host-resolver-rules=MAP demo.test 127.0.0.1")
    page = await browser.open(f"{lonely.url}/echo".replace("127.0.0.1", "demo.test"))
    await click(page, "start")
    now = await shows(page, "problem", "needs a secure address")
    assert "HTTPS" in now["text"]
    await browser.close()


@pytest.mark.parametrize("name", BOTH)
async def test_the_page_shows_its_own_picture_back_with_its_figures(
    name: BrowserName, browsers: Browsers, orchard: Orchard
) -> None:
    page = await (await browsers.get(name)).open(f"{orchard.url}/echo")
    await click(page, "start")
    await shows(page, "status", "Connected")
    now = await eventually(
        lambda: state(page),
        lambda now: now["remote"] > 0 and "bit/s" in now["figures"]["video-figures Bitrate"],
        "the picture and its figures",
    )
    assert now["problem"] == ""
    figures = now["figures"]
    assert figures["video-figures Size"][0].isdigit()
    assert "bit/s" in figures["video-figures Bitrate"]
    assert figures["audio-figures Codec"] == "opus"
    assert "%" in figures["video-figures Packets lost"]
    assert "ms" in figures["video-figures Jitter"]
    assert "Connected after" in now["connection"]
    assert [line for line in page.console() if "uncaught" in line or "Refused" in line] == []
    await page.close()


async def test_the_page_finds_back_when_its_server_restarts(
    browsers: Browsers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("restart")
    first = await Orchard.start(folder)
    page = await (await browsers.get("chromium")).open(f"{first.url}/echo")
    await click(page, "start")
    await eventually(lambda: state(page), lambda now: now["remote"] > 0, "the picture")
    js = "() => document.getElementById('remote').srcObject?.id ?? ''"
    before = await page.evaluate(js)
    await first.kill()
    port = int(first.url.rpartition(":")[2])
    second = await Orchard.start(folder, http_port=port, media_port=first.media_port)
    try:
        await eventually(
            lambda: page.evaluate(js), lambda now: now not in ("", before), "a new picture", deadline_s=40
        )
        await shows(page, "status", "Connected")
    finally:
        await page.close()
        await second.stop()
