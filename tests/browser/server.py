"""The server under test, as its own process."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from pathlib import Path

import httpx

from sfu.directory.files import DataDirectory
from sfu.turn.keys import TurnKeys
from turn.keys import IssuedKey, new_key

APP_ID = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0" * 2
START_DEADLINE_S = 30


def turn_key(data: Path) -> IssuedKey:
    """A new TURN key in a data directory, of a server that may run or not."""
    issued = new_key("tests", time.time())
    TurnKeys(DataDirectory(data)).change(lambda keys: keys.update({issued.key.id: issued.key}))
    return issued


class ServerError(Exception):
    """The server did not start or ended by itself; the text holds the end of what it logged."""


def free_port(kind: socket.SocketKind) -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Orchard:
    """`orchard serve` with an app of the tests; `start` returns when it is ready."""

    secret = SECRET

    def __init__(self, process: asyncio.subprocess.Process, url: str, media_port: int, log: Path) -> None:
        self.process = process
        self.url = url
        self.media_port = media_port
        self.log = log

    @property
    def root(self) -> str:
        """Where the session API of the tests' app begins."""
        return f"{self.url}/v1/apps/{APP_ID}"

    @classmethod
    async def start(
        cls, data: Path, *options: str, http_port: int | None = None, media_port: int | None = None
    ) -> Orchard:
        """Start it on loopback; `options` are added to the command line."""
        http = http_port or free_port(socket.SOCK_STREAM)
        media = media_port or free_port(socket.SOCK_DGRAM)
        log = data / "server.log"
        command = [
            *(str(Path(sys.executable).parent / "orchard"), "serve"),
            *("--http", f"127.0.0.1:{http}", "--media", f":{media}"),
            *("--data", str(data / "data"), "--app", f"{APP_ID}:{SECRET}"),
            *options,
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHARD_")}
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )
        orchard = cls(process, f"http://127.0.0.1:{http}", media, log)
        try:
            await orchard._wait_until_ready()
        except BaseException:
            await orchard.stop()
            raise
        return orchard

    def log_end(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    async def _wait_until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + START_DEADLINE_S
        async with httpx.AsyncClient() as client:
            while True:
                if self.process.returncode is not None:
                    raise ServerError(f"ended with {self.process.returncode}:\n{self.log_end()}")
                try:
                    if (await client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                except httpx.TransportError as error:
                    if loop.time() > until:
                        raise ServerError(f"not ready: {error}\n{self.log_end()}") from error
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help in time."""
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), timeout=15)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL: nobody is told."""
        self.process.kill()
        await self.process.wait()
