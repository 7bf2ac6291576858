"""A server, the tests' pages and a browser, each in its namespace of a lab."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from loadtest.api import Server
from tests.browser.driver import Browser, BrowserName, Driver, Page
from tests.browser.server import APP_ID, SECRET, turn_key
from tests.cluster.lab import SERVER_V4, SERVER_V6, Lab, Namespace
from turn.keys import IssuedKey

API_PORT, PAGES_PORT, MEDIA_PORT = 8080, 8081, 40000
START_DEADLINE_S = 30
METRICS_SECRET = "numbers"

_WAIT = """
import sys, time, urllib.request
until = time.monotonic() + float(sys.argv[2])
while True:
    try:
        urllib.request.urlopen(sys.argv[1], timeout=1).close()
        break
    except OSError as error:
        if time.monotonic() > until:
            sys.exit(f"{sys.argv[1]}: {error}")
        time.sleep(0.05)
"""

_ASK = """
import sys, urllib.request
body = sys.argv[3].encode() if len(sys.argv) > 3 else None
headers = {"authorization": f"Bearer {sys.argv[2]}", "content-type": "application/json"}
request = urllib.request.Request(sys.argv[1], data=body, headers=headers)
sys.stdout.write(urllib.request.urlopen(request, timeout=10).read().decode())
"""


class WorldError(Exception):
    """Something in a namespace did not start; the text holds the end of what it wrote."""


class World:
    """Processes in the namespaces of a lab; `close` ends all of them.

    `host` is the server's address as pages and API calls name it. The server announces both of its
    addresses, whichever family the clients have.
    """

    secret = SECRET

    def __init__(self, lab: Lab, folder: Path, host: str) -> None:
        self.lab = lab
        self._folder = folder
        self._literal = f"[{host}]" if ":" in host else host
        self._host = host
        self._processes: list[asyncio.subprocess.Process] = []
        self._drivers: list[Driver] = []

    @property
    def root(self) -> str:
        """Where the session API of the tests' app begins."""
        return f"{self._api}/v1/apps/{APP_ID}"

    @property
    def server(self) -> Server:
        """The same for light clients."""
        return Server(f"{self._api}/v1", APP_ID, SECRET)

    @property
    def _api(self) -> str:
        return f"http://{self._literal}:{API_PORT}"

    @property
    def _pages(self) -> str:
        return f"http://{self._literal}:{PAGES_PORT}"

    async def _spawn(self, namespace: Namespace, name: str, *command: str) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ORCHARD_")}
        with (self._folder / f"{name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *namespace.prefix,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        self._processes.append(process)

    async def _until_answered(self, url: str, name: str) -> None:
        command = [*self.lab.server.prefix, sys.executable, "-c", _WAIT, url, str(START_DEADLINE_S)]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, error = await process.communicate()
        if process.returncode != 0:
            log = (self._folder / f"{name}.log").read_text(errors="replace")
            raise WorldError(f"{error.decode()}\n{log[-4000:]}")

    async def start(self, *options: str) -> None:
        """Start the server, with `options` on its command line, and the pages. Raises WorldError."""
        await self._spawn(
            self.lab.server,
            "orchard",
            *(str(Path(sys.executable).parent / "orchard"), "serve"),
            *("--http", f"{self._literal}:{API_PORT}", "--http-tls", "off", "--media", str(MEDIA_PORT)),
            *("--advertise", SERVER_V4, "--advertise", SERVER_V6),
            *("--data", str(self._folder / "data"), "--app", f"{APP_ID}:{SECRET}"),
            *("--metrics-secret", METRICS_SECRET),
            *options,
        )
        pages = (sys.executable, "-m", "tests.browser.site", self._host, str(PAGES_PORT))
        await self._spawn(self.lab.server, "pages", *pages)
        await self._until_answered(f"{self._api}/readyz", "orchard")
        await self._until_answered(f"{self._pages}/pages/blank.html", "pages")

    async def browser(
        self, client: Namespace, name: BrowserName = "chromium", *, trust: Path | None = None
    ) -> Browser:
        """A browser in a client's namespace, which may use its camera on the tests' pages; `trust` as of
        `Driver.launch`."""
        driver = await Driver.start(*client.prefix)
        self._drivers.append(driver)
        flag = f"--unsafely-treat-insecure-origin-as-secure={self._pages}"
        return await driver.launch(name, flags=[flag] if name == "chromium" else [], trust=trust)

    async def _ask(self, path: str, secret: str, *body: str) -> str:
        """What the server's HTTP answers; with a body it is a POST."""
        command = (sys.executable, "-c", _ASK, self._api + path, secret, *body)
        return await asyncio.to_thread(self.lab.server.run, *command)

    def turn_key(self) -> IssuedKey:
        """A new TURN key of the server, which need not run yet."""
        return turn_key(self._folder / "data")

    async def ice_servers(self, key: IssuedKey) -> list[dict[str, Any]]:
        """What the server hands out to the holder of a TURN key."""
        path = f"/v1/turn/keys/{key.key.id}/credentials/generate-ice-servers"
        return json.loads(await self._ask(path, key.token, "{}"))["iceServers"]

    async def counters(self) -> dict[str, int]:
        """The packet path's counters (docs/reference/counters.md): events, and drops as `drop_...`."""
        text = await self._ask("/metrics", METRICS_SECRET)
        events = re.findall(r'^orchard_media_events_total{name="(\w+)"} (\S+)$', text, re.MULTILINE)
        drops = re.findall(r'^orchard_media_dropped_total{reason="(\w+)"} (\S+)$', text, re.MULTILINE)
        return {
            **{name: int(float(count)) for name, count in events},
            **{f"drop_{name}": int(float(count)) for name, count in drops},
        }

    async def open_page(self, browser: Browser) -> Page:
        """An empty page from which pages/peers.js can be imported."""
        return await browser.open(f"{self._pages}/pages/blank.html")

    async def close(self) -> None:
        """End the browsers and the servers."""
        for driver in self._drivers:
            await driver.close()
        for process in self._processes:
            if process.returncode is None:
                process.terminate()
        for process in self._processes:
            try:
                await asyncio.wait_for(process.wait(), timeout=10)
            except TimeoutError:
                process.kill()
                await process.wait()
