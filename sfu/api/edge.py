"""The outermost layer of the HTTP API: CORS for any origin, and a bound on requests under way.

Browsers call the API from any page, `file://` included (origin `null`), with a bearer secret and never
with cookies; so every origin is allowed, and no credentials of the browser's are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from sfu.api.errors import TEMPORARILY_UNAVAILABLE, error_response
from sfu.base.log import get_logger

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = get_logger("api")

_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, PUT, DELETE",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": "7200",  # the longest that Chromium keeps one
}

_under_way = Gauge("orchard_http_requests_under_way", "HTTP requests being worked on")
_turned_away = Counter("orchard_http_turned_away_total", "HTTP requests answered 503 for the bound on them")
_failed = Counter("orchard_http_failed_total", "HTTP requests answered 500 for a fault of ours")


class Edge:
    """Wraps the API; answers preflights, and everything past `requests_under_way` with 503."""

    def __init__(self, app: ASGIApp, *, requests_under_way: int) -> None:
        self._app = app
        self._bound = requests_under_way
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = Headers(scope=scope).get("origin")

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers["vary"] = "Origin"
                if origin is not None:
                    headers["access-control-allow-origin"] = origin
                    headers["access-control-expose-headers"] = "retry-after"
            await send(message)

        if scope["method"] == "OPTIONS":
            await Response(status_code=204, headers=_PREFLIGHT)(scope, receive, send_with_cors)
        elif self._count >= self._bound:
            _turned_away.inc()
            text = "Too many requests are under way"
            refusal = error_response(503, TEMPORARILY_UNAVAILABLE, text, {"retry-after": "1"})
            await refusal(scope, receive, send_with_cors)
        else:
            await self._serve(scope, receive, send_with_cors)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._count += 1
        _under_way.set(self._count)
        try:
            await self._app(scope, receive, send)
        except Exception:
            # The answer is out already: the app's handler of last resort made it.
            _failed.inc()
            log.exception("api.request_failed", method=scope["method"], path=scope["path"])
        finally:
            self._count -= 1
            _under_way.set(self._count)
