"""The meeting app in real browsers: people meet, see and hear each other, and see what the others do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.browser.driver import Browser, BrowserMissing, BrowserName, Driver
from tests.browser.meeting_page import Person
from tests.browser.server import Orchard

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PAIRS = pytest.mark.parametrize(
    ("first", "second"),
    [("chromium", "chromium"), ("firefox", "firefox"), ("chromium", "firefox")],
    ids=["chromium", "firefox", "chromium-firefox"],
)
EACH = pytest.mark.parametrize("name", ["chromium", "firefox"])

Arrive = Callable[[BrowserName, str, str], Awaitable[Person]]


class Browsers:
    """The browsers of these tests, by name and number."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._launched: dict[tuple[BrowserName, int], Browser] = {}

    async def get(self, name: BrowserName, number: int) -> Browser:
        """One that runs, from now on at least. Skips the test where there is no such browser."""
        if (name, number) not in self._launched:
            try:
                self._launched[name, number] = await self._driver.launch(name)
            except BrowserMissing as missing:
                pytest.skip(str(missing))
        return self._launched[name, number]

    async def close(self) -> None:
        """End all."""
        for browser in self._launched.values():
            await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browsers(driver: Driver) -> AsyncIterator[Browsers]:
    """Browsers that stay for all tests."""
    made = Browsers(driver)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def arrive(browsers: Browsers) -> AsyncIterator[Arrive]:
    """Opens somebody's page, in a browser that no other has: a page behind another one shows no frames.

    After the test the pages are closed and forgotten, and none may have complained.
    """
    people: list[Person] = []

    async def one(name: BrowserName, url: str, who: str) -> Person:
        browser = await browsers.get(name, len(people))
        people.append(await Person.at(browser, url, who))
        return people[-1]

    yield one
    complaints = {person.name: person.complaints() for person in people}
    for person in people:
        await person.end()
    assert not any(complaints.values()), complaints


async def meet(
    arrive: Arrive, orchard: Orchard, first: BrowserName, second: BrowserName
) -> tuple[Person, Person]:
    """Ann, who made the meeting, and Ben, who came by her link."""
    ann = await arrive(first, orchard.url, "Ann")
    link = await ann.make_meeting()
    await ann.join()
    ben = await arrive(second, link, "Ben")
    await ben.join()
    return ann, ben


@PAIRS
async def test_two_people_see_and_hear_each_other(
    first: BrowserName, second: BrowserName, arrive: Arrive, orchard: Orchard
) -> None:
    ann, ben = await meet(arrive, orchard, first, second)
    await ann.watches("Ben")
    await ben.watches("Ann")
    await ann.hears()
    await ben.hears()


@EACH
async def test_what_one_does_the_other_sees(name: BrowserName, arrive: Arrive, orchard: Orchard) -> None:
    ann, ben = await meet(arrive, orchard, name, name)
    await ann.watches("Ben")
    ben_tile = 'figure[data-name="Ben"]'

    await ben.press("#microphone")
    await ann.sees(f'{ben_tile} [aria-label="muted"]')
    await ben.press("#microphone")
    await ann.sees_no(f'{ben_tile} [aria-label="muted"]')
    await ann.hears()

    await ben.press("#camera")
    await ann.sees_no(f"{ben_tile} video")
    await ben.press("#camera")
    await ann.watches("Ben")

    await ben.press("#chat")
    await ben.write("#chat-text", "<img src=x onerror=alert(1)> hello")
    await ben.press(".chat-form [aria-label=Send]")
    await ann.press("#chat")
    await ann.reads("<img src=x onerror=alert(1)> hello", within=".chat-lines")

    await ben.press("#leave")
    await ben.reads("You left the meeting")
    await ann.sees_no(ben_tile)
    await ann.reads("Ben left")


@EACH
async def test_who_comes_late_sees_who_is_there_and_reads_what_was_said(
    name: BrowserName, arrive: Arrive, orchard: Orchard
) -> None:
    ann = await arrive(name, orchard.url, "Ann")
    link = await ann.make_meeting()
    await ann.join()
    await ann.press("#chat")
    await ann.write("#chat-text", "Said before")
    await ann.press(".chat-form [aria-label=Send]")
    await ann.reads("Said before", within=".chat-lines")
    await ann.press("#camera")
    await ann.sees_no('figure[data-name="Ann"] video')
    ben = await arrive(name, link, "Ben")
    await ben.join()
    await ben.press("#chat")
    await ben.reads("Said before", within=".chat-lines")
    await ben.hears()
    await ann.press("#camera")
    await ben.watches("Ann")


@EACH
async def test_a_host_mutes_and_removes(name: BrowserName, arrive: Arrive, orchard: Orchard) -> None:
    ann, ben = await meet(arrive, orchard, name, name)
    await ann.watches("Ben")
    await ann.press("#people")
    await ann.press('[aria-label="More about Ben"]')
    await ann.press_text("Mute")
    await ann.sees('figure[data-name="Ben"] [aria-label="muted"]')
    await ben.reads("A host has switched your microphone off.")
    await ann.press('[aria-label="More about Ben"]')
    await ann.press_text("Remove")
    await ben.reads("You were removed from the meeting")
    await ann.sees_no('figure[data-name="Ben"]')
    assert all(transport["state"] == "closed" for transport in await ben.transports())


@EACH
async def test_a_breakout_room_parts_and_brings_together_on_the_same_connection(
    name: BrowserName, arrive: Arrive, orchard: Orchard
) -> None:
    ann, ben = await meet(arrive, orchard, name, name)
    await ann.watches("Ben")
    await ben.watches("Ann")
    before = [await person.transports() for person in (ann, ben)]
    await ann.press("#people")
    await ann.press_text("Breakout rooms")
    await ann.sees("dialog[open]")
    await ann.press_text("Open the rooms")
    await ben.sees_no('figure[data-name="Ann"]')
    await ann.sees_no('figure[data-name="Ben"]')
    await ben.press("#people")
    await ben.press_text("Go there")
    await ben.watches("Ann")
    await ann.watches("Ben")
    await ann.hears()
    assert [await person.transports() for person in (ann, ben)] == before
    assert all(len(transports) == 1 for transports in before)


@EACH
async def test_all_are_back_without_a_click_when_the_server_restarts(
    name: BrowserName, arrive: Arrive, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("restart")
    server = await Orchard.start(folder)
    ann, ben = await meet(arrive, server, name, name)
    await ann.watches("Ben")
    await server.kill()
    await ann.reads("The connection is lost")
    port = int(server.url.rpartition(":")[2])
    again = await Orchard.start(folder, http_port=port, media_port=server.media_port)
    try:
        await ann.sees('.call[data-room="connected"][data-media="connected"]', deadline_s=40)
        await ann.watches("Ben", deadline_s=40)
        await ben.watches("Ann", deadline_s=40)
        await ann.hears()
    finally:
        await again.stop()


@EACH
async def test_a_shared_screen_is_seen_and_seen_no_more(
    name: BrowserName, arrive: Arrive, orchard: Orchard
) -> None:
    ann, ben = await meet(arrive, orchard, name, name)
    await ann.watches("Ben")
    for _ in range(2):
        await ben.press("#share")
        await ann.watches("Ben", "screen")
        await ann.watches("Ben")
        await ben.press("#share")
        await ann.sees_no('figure[data-name="Ben"][data-source="screen"]')


@EACH
async def test_people_meet_who_can_use_nothing_but_a_relay(
    name: BrowserName, arrive: Arrive, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = await Orchard.start(
        tmp_path_factory.mktemp("relay"), "--turn-udp", ":0", "--turn-tcp", ":0", "--turn-host", "localhost"
    )
    try:
        ann = await arrive(name, server.url, "Ann")
        await ann.configure(iceTransportPolicy="relay")
        link = await ann.make_meeting()
        await ann.join()
        ben = await arrive(name, link, "Ben")
        await ben.configure(iceTransportPolicy="relay")
        await ben.join()
        await ann.watches("Ben")
        await ben.watches("Ann")
        await ann.hears()
        assert [transport["path"] for transport in await ann.transports()] == ["relay"]
    finally:
        await server.stop()
