"""Fixtures of the tests that make networks of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.driver import BrowserMissing, BrowserName, Page
from tests.cluster.lab import Lab, LabUnavailable, Uplink, check_available
from tests.cluster.world import World


@pytest.fixture(scope="session")
def _namespaces() -> None:
    try:
        check_available()
    except LabUnavailable as unavailable:
        pytest.skip(str(unavailable))


@pytest.fixture
def lab(_namespaces: None) -> Iterator[Lab]:
    """A router with a server behind it; clients are made by the test."""
    with Lab() as made:
        yield made


class Worlds:
    """Makes worlds on a test's lab and ends them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self._folder = folder
        self._made: list[World] = []

    async def start(self, host: str, *options: str) -> World:
        """A running server, with `options` on its command line, and web server, to be reached by `host`."""
        world = World(self._lab, self._folder, host)
        self._made.append(world)
        await world.start(*options)
        return world

    async def close(self) -> None:
        """End all."""
        for world in self._made:
            await world.close()


@pytest_asyncio.fixture
async def worlds(lab: Lab, tmp_path: Path) -> AsyncIterator[Worlds]:
    """Worlds on this test's network."""
    made = Worlds(lab, tmp_path)
    yield made
    await made.close()


async def page_in(
    world: World, uplink: Uplink, browser: BrowserName = "chromium", *, trust: Path | None = None
) -> Page:
    """A page of a browser behind `uplink`. Skips the test where there is no such browser."""
    try:
        return await world.open_page(await world.browser(uplink.client, browser, trust=trust))
    except BrowserMissing as missing:
        pytest.skip(str(missing))
