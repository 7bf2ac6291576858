"""How long a browser takes from its first HTTP call to `connected`, on loopback.

`python -m tests.browser.measure [RUNS]` starts a server and prints one JSON object a browser: median and
spread of as many fresh sessions (default 15), each with one video track pushed, in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path

from tests.browser.driver import BrowserName, Driver, Page
from tests.browser.peer import BrowserPeer
from tests.browser.server import Orchard
from tests.browser.site import pages_site

BROWSERS: tuple[BrowserName, ...] = ("chromium", "firefox")


async def connect_times(page: Page, orchard: Orchard, runs: int) -> list[float]:
    """Milliseconds of each run; the first one warms the browser up and is left out."""
    times: list[float] = []
    for number in range(runs + 1):
        peer = await BrowserPeer.open(page, orchard, f"peer{number}")
        await peer.push({"name": "video", "kind": "video"})
        times.append(await peer.connected())
        await peer.end()
    return times[1:]


async def main(runs: int) -> None:
    """Measure both browsers."""
    driver = await Driver.start()
    with tempfile.TemporaryDirectory() as folder:
        orchard = await Orchard.start(Path(folder))
        try:
            async with pages_site() as site:
                for name in BROWSERS:
                    browser = await driver.launch(name)
                    page = await browser.open(f"{site.url}/pages/blank.html")
                    times = await connect_times(page, orchard, runs)
                    await browser.close()
                    result = {
                        "browser": browser.version,
                        "runs": runs,
                        "median_ms": round(statistics.median(times), 1),
                        "min_ms": round(min(times), 1),
                        "max_ms": round(max(times), 1),
                    }
                    sys.stdout.write(json.dumps(result) + "\n")
        finally:
            await driver.close()
            await orchard.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
