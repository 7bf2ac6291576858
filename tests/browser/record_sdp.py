"""Record what Debian's browsers write as SDP into tests/fixtures/sdp/.

`python -m tests.browser.record_sdp` replaces the files of the browsers that are installed; their
names say browser and major version, `sources.json` the full version. The tests record them again
and want the parser to take every one.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.browser.driver import Browser, BrowserName, Driver
from tests.browser.site import pages_site

FIXTURES = Path(__file__).parent.parent / "fixtures" / "sdp"
BROWSERS: tuple[BrowserName, ...] = ("chromium", "firefox")


async def record(browser: Browser, site: str) -> dict[str, str]:
    """Every SDP that one browser writes, by the name of its case."""
    page = await browser.open(f"{site}/pages/blank.html")
    try:
        records = await page.evaluate(
            "async () => (await import('/pages/record_sdp.js')).recordSdp()",
        )
    finally:
        await page.close()
    return {name: str(text) for name, text in records.items()}


def write(directory: Path, browser: Browser, records: dict[str, str]) -> None:
    """Put the records of one browser version into `directory`, in place of older ones of the same version."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob(f"{browser.major}-*.sdp"):
        old.unlink()
    for name, text in records.items():
        (directory / f"{browser.major}-{name}.sdp").write_text(text, newline="")
    index = directory / "sources.json"
    sources: dict[str, str] = json.loads(index.read_text()) if index.exists() else {}
    sources[browser.major] = f"Debian's {browser.name}, {browser.version}, headless, fake devices"
    index.write_text(json.dumps(sources, indent=2, sort_keys=True) + "\n")


async def main() -> None:
    """Record both browsers."""
    driver = await Driver.start()
    try:
        async with pages_site() as site:
            for name in BROWSERS:
                browser = await driver.launch(name)
                write(FIXTURES, browser, await record(browser, site.url))
                await browser.close()
    finally:
        await driver.close()


if __name__ == "__main__":
    asyncio.run(main())
