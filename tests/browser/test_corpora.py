"""The recorded SDP and the recorded TURN messages are what today's browsers write."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.browser.conftest import Browsers
from tests.browser.driver import BrowserName
from tests.browser.record_sdp import BROWSERS, FIXTURES, record
from tests.browser.record_turn import FIXTURES as TURN_FIXTURES
from tests.browser.record_turn import TRANSPORTS
from tests.browser.record_turn import record as record_turn
from tests.browser.site import WebServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def fixtures_of(version: str) -> dict[str, str]:
    """What is kept of one browser version, by case."""
    return {
        path.name.removeprefix(f"{version}-").removesuffix(".sdp"): path.read_bytes().decode()
        for path in Path(FIXTURES).glob(f"{version}-*.sdp")
    }


def sections(sdp: str) -> list[str]:
    """The m-lines without their ports, which change from run to run."""
    fields = [line.split(" ") for line in sdp.split("\r\n") if line.startswith("m=")]
    return [" ".join([kind, *rest]) for kind, _port, *rest in fields]


@pytest.mark.parametrize("name", BROWSERS)
async def test_the_recorded_cases_are_those_that_the_browser_writes(
    name: BrowserName, browsers: Browsers, pages_only: WebServer
) -> None:
    browser = await browsers.get(name)
    records = await record(browser, pages_only.url)
    assert len(records) > 30
    kept = await asyncio.to_thread(fixtures_of, browser.major)
    if not kept:
        pytest.skip(f"{browser.version}: no recording yet; python -m tests.browser.record_sdp makes one")
    assert kept.keys() == records.keys()
    for case, text in records.items():
        assert sections(text) == sections(kept[case]), case


@pytest.mark.parametrize("name", BROWSERS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_recorded_turn_messages_are_of_the_kinds_that_the_browser_sends(
    name: BrowserName, transport: str, browsers: Browsers, pages_only: WebServer
) -> None:
    browser = await browsers.get(name)
    messages = await record_turn(browser, pages_only.url, transport)
    path = Path(TURN_FIXTURES) / f"{browser.major}-{transport}.txt"
    if not await asyncio.to_thread(path.exists):
        pytest.skip(f"{browser.version}: no recording yet; python -m tests.browser.record_turn makes one")
    kept = [bytes.fromhex(line) for line in (await asyncio.to_thread(path.read_text)).split()]
    # a keep-alive may come or not, and so may the Refresh of a page that is closed
    chance = {b"\0\1", b"\0\4"}
    assert {data[:2] for data in messages} - chance == {data[:2] for data in kept} - chance
