"""Fixtures of the tests with real browsers: one driver, one browser of each kind and one server for all.

Tests of this folder run in one event loop for the whole run; a page, and the sessions in it, is a
test's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from tests.browser.authority import Authority
from tests.browser.bundle import bundle
from tests.browser.driver import HERE, Browser, BrowserError, BrowserMissing, BrowserName, Driver, Page
from tests.browser.proxy import SecretProxy
from tests.browser.server import Orchard
from tests.browser.site import WebServer, pages_site

OpenPage = Callable[[BrowserName], Awaitable[Page]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def driver() -> AsyncIterator[Driver]:
    """The node process that drives all browsers."""
    try:
        started = await Driver.start()
    except BrowserMissing as missing:
        pytest.skip(str(missing))
    yield started
    await started.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whose certificates the browsers trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


class Browsers:
    """Browsers by name, each started when it is first wanted; they trust `authority`."""

    def __init__(self, driver: Driver, authority: Authority, folder: Path) -> None:
        self._driver = driver
        self._authority = authority
        self._folder = folder
        self._running: dict[BrowserName, Browser] = {}

    async def get(self, name: BrowserName) -> Browser:
        """The browser, running. Skips the test where it is not installed."""
        if name not in self._running:
            try:
                trust = self._authority.trusted_in(self._folder / name)
                self._running[name] = await self._driver.launch(name, trust=trust)
            except BrowserMissing as missing:
                pytest.skip(str(missing))
        return self._running[name]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browsers(
    driver: Driver, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Browsers:
    """One browser of each kind for the whole run."""
    return Browsers(driver, authority, tmp_path_factory.mktemp("browsers"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def orchard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Orchard]:
    """One server for the tests that do not harm it."""
    server = await Orchard.start(tmp_path_factory.mktemp("orchard"))
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def secret_proxy(orchard: Orchard) -> AsyncIterator[SecretProxy]:
    """What partytracks speaks to."""
    proxy = SecretProxy(orchard.root, orchard.secret)
    yield proxy
    await proxy.close()


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where bundles lie; the site has them under `/bundles`."""
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="session")
def _bundle(bundles: Path) -> None:
    bundle(HERE / "pages" / "partytracks_entry.js", bundles / "partytracks.js")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(secret_proxy: SecretProxy, bundles: Path) -> AsyncIterator[WebServer]:
    """The web server of the tests' pages."""
    mount = Mount("/bundles", StaticFiles(directory=bundles))
    async with pages_site(*secret_proxy.routes(), mount) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def pages_only() -> AsyncIterator[WebServer]:
    """The tests' pages for tests that want no server."""
    async with pages_site() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browsers: Browsers, site: WebServer) -> AsyncIterator[OpenPage]:
    """Opens an empty page of the tests' site; all are closed after the test."""
    pages: list[Page] = []

    async def open_one(name: BrowserName) -> Page:
        browser = await browsers.get(name)
        page = await browser.open(f"{site.url}/pages/blank.html")
        pages.append(page)
        return page

    yield open_one
    for page in pages:
        try:
            await page.evaluate("async () => (await import('/pages/peers.js')).endAll()")
        except BrowserError as error:
            pytest.fail(f"{page.browser}: {error}")
        finally:
            await page.close()
