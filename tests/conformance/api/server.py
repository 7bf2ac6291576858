"""The server under test: one in this process, or any other that is given by its address.

`CONFORMANCE_URL` (with /v1), `CONFORMANCE_APP` and `CONFORMANCE_SECRET` in the environment name a server
elsewhere, `CONFORMANCE_OTHER_APP` (ID:SECRET) a second app of it; peers then connect to it for real.
Without them a server runs in this process over a directory in memory, and what its media half would
see is written into the directory.
"""

from __future__ import annotations

import asyncio
import os
import socket
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn

from sfu.api.app import create_app
from sfu.base.ids import AppId, SessionId
from sfu.directory.interface import App, digest_secret
from sfu.directory.memory import MemoryDirectory
from sfu.negotiation import owner
from sfu.negotiation.record import Fingerprint, SessionRecord
from sfu.negotiation.requests import Context
from sfu.net.address import Address
from sfu.sessions.service import ServiceLimits, SessionService
from tests.conformance.api.peer import Peer, ScriptedPeer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Server(ABC):
    """A server and two of its apps; the other app may be missing where the server is not ours."""

    def __init__(self, url: str, app: str, secret: str, other: tuple[str, str] | None) -> None:
        self.url = url
        self.app = app
        self.secret = secret
        self.other = other

    @abstractmethod
    def peer(self) -> Peer:
        """A new client."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Until the server's clock is that much later."""


class OtherServer(Server):
    """A server that runs elsewhere."""

    def peer(self) -> Peer:
        """A client that connects for real."""
        from tests.conformance.api.real_peer import RealPeer

        return RealPeer()

    async def pass_time(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class OwnServer(Server):
    """A server in this process, over HTTP on a port of its own."""

    def __init__(self, url: str, app: str, secret: str, other: tuple[str, str], clock: Clock) -> None:
        super().__init__(url, app, secret, other)
        self._clock = clock
        self.service: SessionService

    def peer(self) -> Peer:
        """A client whose packets are only said to arrive."""
        return ScriptedPeer(self._arrive)

    async def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self._clock.now += seconds

    async def _arrive(self, session: str, mids: set[str]) -> None:
        def arrived(record: SessionRecord) -> SessionRecord:
            record = owner.set_transport_state(record, "connected")
            for track in record.publications:
                if track.mid in mids and track.state == "open":
                    record = owner.set_track_flowing(record, track.name, flowing=True)
            return record

        await self.service.update(SessionId(session), arrived)


class Clock:
    """A wall clock that tests move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def _context() -> Context:
    numbers = iter(range(1000, 1 << 30))
    return Context(
        cluster_secret=b"s" * 32,
        candidates=[Address("192.0.2.1", 40000), Address("2001:db8::1", 40000)],
        fingerprint=Fingerprint("sha-256", "AB:" * 31 + "CD"),
        fresh=lambda: next(numbers),
    )


@asynccontextmanager
async def own_server() -> AsyncGenerator[OwnServer]:
    """Start a server in this process."""
    directory = MemoryDirectory()
    apps = [("conformance", "conformance-secret"), ("another", "another-secret")]
    for app, secret in apps:
        await directory.put_app(App(AppId(app), app, (digest_secret(secret),), 0.0))
    clock, context = Clock(), _context()
    # as documented, but for waits that would make the tests slow
    limits = ServiceLimits(connect_wait_s=0.1, media_wait_s=0.1)
    service = SessionService(directory, lambda: context, limits=limits, wall_clock=clock)
    api = create_app(service, directory, not_ready=lambda: None)
    async with _serving(api) as address:
        server = OwnServer(f"http://{address}/v1", *apps[0], apps[1], clock)
        server.service = service
        yield server


@asynccontextmanager
async def _serving(api: Any) -> AsyncGenerator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(api, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    host, port = listener.getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        server.should_exit = True
        await task
        listener.close()


def other_server() -> OtherServer | None:
    """The server that the environment names, if it names one."""
    url = os.environ.get("CONFORMANCE_URL")
    if not url:
        return None
    other_app, _, other_secret = os.environ.get("CONFORMANCE_OTHER_APP", "").partition(":")
    return OtherServer(
        url.rstrip("/"),
        os.environ["CONFORMANCE_APP"],
        os.environ["CONFORMANCE_SECRET"],
        (other_app, other_secret) if other_app else None,
    )


def client_of(server: Server) -> httpx.AsyncClient:
    """A client with the app's secret, for paths below the app."""
    return httpx.AsyncClient(
        base_url=f"{server.url}/apps/{server.app}",
        headers={"authorization": f"Bearer {server.secret}"},
        timeout=30,
        verify=False,  # noqa: S501 -- a server under test makes its own certificate
    )
