"""The web server of the tests: static pages, and what a test mounts beside them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Generator
from pathlib import Path
from types import TracebackType

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

HERE = Path(__file__).parent
CLIENT = HERE.parent.parent / "demo-app" / "server" / "meeting" / "demo"


class _QuietServer(uvicorn.Server):
    """A server that leaves the signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class WebServer:
    """An ASGI app on a free port of 127.0.0.1 (a secure origin for cameras), in the test's loop.

    Use it as an async context manager; `url` is valid from the start.
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family)
        config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1)
        self._server = _QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The origin, without a slash at its end."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def __aenter__(self) -> WebServer:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._socket.close()


def pages_app(*routes: BaseRoute) -> Starlette:
    """The tests' pages under `/pages`, the demo's modules under `/static`, and `routes`."""
    pages = Mount("/pages", StaticFiles(directory=HERE / "pages"))
    client = Mount("/static", StaticFiles(directory=CLIENT))
    return Starlette(routes=[*routes, pages, client])


def pages_site(*routes: BaseRoute) -> WebServer:
    """A server of `pages_app`."""
    return WebServer(pages_app(*routes))


async def _serve_for_ever(host: str, port: int) -> None:
    async with WebServer(pages_app(), host, port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve_for_ever(sys.argv[1], int(sys.argv[2])))
