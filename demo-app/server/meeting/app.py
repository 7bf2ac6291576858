"""The ASGI app of the meeting app: its pages' files, and what these speak to.

/                  the meeting app; what it loads is under /assets (see `page`)
/api/rooms         makes a room
/api/room/...      a room's socket, and the session API for its members (see `service`)
/echo              the echo page, with its modules and styles under /static/...
/api/sessions/...  the session API for pages without a room, each for itself (see `proxy`)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import FileResponse, RedirectResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from meeting.page import BuiltPage
from meeting.proxy import SessionProxy
from meeting.upstream import DEFAULT_LIMITS, ProxyLimits, Upstream

if TYPE_CHECKING:
    import httpx
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from meeting.service import Meeting

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


async def _moved(_request: Request) -> Response:
    return RedirectResponse("/", status_code=308)  # the browser keeps the invite's fragment


async def _echo(_request: Request) -> Response:
    return FileResponse(STATIC / "index.html")


def create_app(
    client: httpx.AsyncClient,
    app_id: str,
    secret: str,
    *,
    limits: ProxyLimits = DEFAULT_LIMITS,
    meeting: Meeting | None = None,
) -> Starlette:
    """The pages, to be mounted at `/`; without a `meeting` there are no rooms.

    `client` reaches the HTTP API: its base URL is the node's own (`http://127.0.0.1:1080`), or its
    transport is an `httpx.ASGITransport` over the API's app. Who made it closes it. `app_id` and
    `secret` are of the app in which the page's sessions are made; the secret stays here.
    """
    proxy = SessionProxy(Upstream(client, app_id, secret, limits), secret, limits)
    rooms = [] if meeting is None else meeting.routes()
    return Starlette(
        routes=[
            Route("/echo", _echo),
            Route("/meet", _moved),
            Mount("/api", routes=[*rooms, *proxy.routes()]),
            Mount("/static", StaticFiles(directory=STATIC)),
            *BuiltPage().routes("/"),
        ],
        middleware=[Middleware(_PageHeaders)],
    )
