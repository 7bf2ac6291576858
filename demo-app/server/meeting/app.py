"""The ASGI app of the demo: the page's files and the proxy that the page speaks to.

/                  the echo page
/static/...        its modules and styles
/meet              the meeting app; what it loads is under /assets (see `page`)
/api/sessions/...  the session API, with the app's secret added (see `proxy`)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import FileResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from meeting.page import BuiltPage
from meeting.proxy import DEFAULT_LIMITS, ProxyLimits, SessionProxy

if TYPE_CHECKING:
    import httpx
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = Path(__file__).parent / "demo"

# The page loads nothing but its own files, so text from the network can't become code in it.
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(self)",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


class _PageHeaders:
    """Adds the headers above to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


async def _index(_request: Request) -> Response:
    return FileResponse(STATIC / "index.html")


def create_app(
    client: httpx.AsyncClient, app_id: str, secret: str, *, limits: ProxyLimits = DEFAULT_LIMITS
) -> Starlette:
    """The demo, to be mounted at `/`.

    `client` reaches the HTTP API: its base URL is the node's own (`http://127.0.0.1:1080`), or its
    transport is an `httpx.ASGITransport` over the API's app. Who made it closes it. `app_id` and
    `secret` are of the app in which the page's sessions are made; the secret stays here.
    """
    proxy = SessionProxy(client, app_id, secret, limits)
    return Starlette(
        routes=[
            Route("/", _index),
            Mount("/api", routes=proxy.routes()),
            Mount("/static", StaticFiles(directory=STATIC)),
            *BuiltPage().routes("/meet"),
        ],
        middleware=[Middleware(_PageHeaders)],
    )
