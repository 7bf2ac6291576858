"""How long a browser waits: from its first HTTP call to `connected`, in Chromium without a window.

Chromium is started anew for each round and opens one page of ours, which connects several times and posts
what it measured. The first time in a new browser pays for the TCP connection and the CORS preflights.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlencode

from loadtest.api import Server
from loadtest.report import Figure, Measurement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from loadtest.api import Site
    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench

PAGE: Final = Path(__file__).with_name("browser.html")
PATIENCE_S: Final = 60.0
STEPS: Final = {
    "session": "session made",
    "offer": "offer made",
    "answer": "answer there",
    "connected": "connected",
}
FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)


class BrowserFailed(Exception):
    """Chromium is missing, or its page reported an error or nothing."""


@dataclass(frozen=True, slots=True)
class Browser:
    """Options: browsers started, and connections that each makes."""

    rounds: int = 5
    connections: int = 4


async def run(bench: Bench, options: Browser, tell: Tell) -> Measurement:
    """One browser per round. Raises BrowserFailed."""
    first: list[dict[str, float]] = []
    later: list[dict[str, float]] = []
    async with bench.target() as target:
        for number in range(options.rounds):
            tell("browsers", number, options.rounds)
            async with browsing(target.server, connections=options.connections) as posted:
                times = cast("list[dict[str, float]]", posted["times"])
            first.append(times[0])
            later += times[1:]
        tell("browsers", options.rounds, options.rounds)
    return Measurement(
        "browser-connect",
        "First HTTP call to connected, Chromium",
        {"browsers": options.rounds, "connections each": options.connections},
        (
            *_figures("new browser", first),
            *_figures("same browser again", later),
        ),
        (
            "Times since the page called sessions/new, steps in their order; the answer is that of "
            "tracks/new. One video and one sound of the fake devices are pushed. The page is of another "
            "origin than the API, as in an application: a new browser pays for CORS preflights.",
        ),
    )


def _figures(which: str, times: list[dict[str, float]]) -> list[Figure]:
    if not times:
        return []
    return [Figure(f"{which}: {text}", "ms", tuple(t[step] for t in times)) for step, text in STEPS.items()]


@contextlib.asynccontextmanager
async def browsing(server: Site, **asked: int) -> AsyncGenerator[dict[str, Any]]:
    """Start a browser with our page, which is told what is asked; gives what it posted. The browser ends with
    the context. Raises BrowserFailed."""
    if not isinstance(server, Server):
        raise BrowserFailed("the page speaks the session API alone")
    binary = shutil.which("chromium")
    if binary is None:
        raise BrowserFailed("chromium: not found; on Debian it is the package chromium")
    site = _Desk()
    listener = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    query = urlencode({"api": f"{server.url}/apps/{server.app}", "secret": server.secret, **asked})
    async with listener:
        with tempfile.TemporaryDirectory(prefix="orchard-loadtest-", ignore_cleanup_errors=True) as profile:
            process = await asyncio.create_subprocess_exec(
                *(binary, *FLAGS, f"--user-data-dir={profile}", f"http://127.0.0.1:{port}/#{query}"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                yield await _posted(site)
            finally:
                # The group is the browser's own: it was started as the leader of a new session.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


async def _posted(site: _Desk) -> dict[str, Any]:
    try:
        return await asyncio.wait_for(site.result, PATIENCE_S)
    except TimeoutError:
        raise BrowserFailed(f"the page reported nothing within {PATIENCE_S:g} s") from None


class _Desk:
    """Two requests: the page, and the post of what it measured."""

    def __init__(self) -> None:
        self.result: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request per connection."""
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            page = b""
            if head.startswith("GET / "):
                page = await asyncio.to_thread(PAGE.read_bytes)
            elif head.startswith("POST /result "):
                length = next(
                    int(line.partition(":")[2])
                    for line in head.lower().splitlines()
                    if line.startswith("content-length:")
                )
                self._take(json.loads(await reader.readexactly(length)))
            status = "200 OK" if not head.startswith("GET /favicon") else "404 Not Found"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n"
                f"Content-Length: {len(page)}\r\nConnection: close\r\n\r\n".encode()
                + page
            )
            await writer.drain()

    def _take(self, posted: dict[str, Any]) -> None:
        if self.result.done():
            return
        if "error" in posted:
            self.result.set_exception(BrowserFailed(f"the page failed: {posted['error']}"))
        else:
            self.result.set_result(posted)
