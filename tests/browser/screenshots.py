"""Pictures of the meeting app to be looked at: `python -m tests.browser.screenshots FOLDER`.

Made in Chromium by people who meet on a server of their own: home, lobby, two in a call with its panels, a
shared screen, a phone, dark.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.browser.driver import Driver
from tests.browser.meeting_page import Person
from tests.browser.server import Orchard

WIDE = (1280, 800)
PHONE = (390, 844)


async def _shoot(person: Person, path: Path) -> None:
    await asyncio.sleep(0.5)  # for what moves into its place
    await person.page.screenshot(path)


async def _take(driver: Driver, server: Orchard, folder: Path) -> None:
    ann = await Person.at(await driver.launch("chromium"), server.url, "Ann Keller")
    await ann.page.viewport(*WIDE, dark=False)
    await _shoot(ann, folder / "home.png")
    link = await ann.make_meeting()
    await ann.sees(".preview video")
    await _shoot(ann, folder / "lobby.png")
    await ann.join()
    await _shoot(ann, folder / "alone.png")
    ben = await Person.at(await driver.launch("chromium"), link, "Ben Okafor")
    await ben.join()
    await ann.watches("Ben Okafor")
    await _shoot(ann, folder / "two.png")
    await ann.press("#chat")
    for person, line in ((ben, "Hello!"), (ann, "Good morning. The agenda: https://example.org/agenda")):
        if person is ben:
            await ben.press("#chat")
        await person.write("#chat-text", line)
        await person.press(".chat-form [aria-label=Send]")
        await ann.reads(line, within=".chat-lines")
    await _shoot(ann, folder / "chat.png")
    await ann.press("#people")
    await _shoot(ann, folder / "people.png")
    await ben.press("#share")
    await ann.watches("Ben Okafor", "screen")
    await _shoot(ann, folder / "screen.png")
    await ben.press("#share")
    await ann.press("#people")
    await ann.page.viewport(*WIDE, dark=True)
    await _shoot(ann, folder / "dark.png")
    await ann.page.viewport(*PHONE, scale=2, dark=False)
    await _shoot(ann, folder / "phone.png")
    await ann.press("#chat")
    await _shoot(ann, folder / "phone-chat.png")


async def _main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as data:
        driver = await Driver.start()
        server = await Orchard.start(Path(data))
        try:
            await _take(driver, server, folder)
        finally:
            await driver.close()
            await server.stop()


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    asyncio.run(_main(out))
