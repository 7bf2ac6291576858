"""The outermost layer of the HTTP API: CORS for any origin, a bound on requests under way, figures.

Browsers call the API from any page, `file://` included (origin `null`), with a bearer secret and never
with cookies; so every origin is allowed, and no credentials of the browser's are.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.routing import Route

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

# Asked by who watches the node, who must not take one that is busy for one that is dead.
_ALWAYS = frozenset(("/healthz", "/readyz", "/metrics"))

_requests = Counter("orchard_api_requests_total", "Requests answered, by operation", ["operation", "status"])
_seconds = Histogram(
    "orchard_api_request_seconds",
    "Time to answer a request; a pull may wait for media",
    ["operation"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
)
_under_way = Gauge("orchard_api_requests_under_way", "Requests being worked on")


class Edge:
    """Wraps the API; answers preflights, and calls past `requests_under_way` with 503."""

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
        status = "none"

        async def send_with_cors(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
                headers = MutableHeaders(raw=message["headers"])
                headers["vary"] = "Origin"
                if origin is not None:
                    headers["access-control-allow-origin"] = origin
                    headers["access-control-expose-headers"] = "retry-after"
            await send(message)

        began_at = time.perf_counter()
        if scope["method"] == "OPTIONS":
            await Response(status_code=204, headers=_PREFLIGHT)(scope, receive, send_with_cors)
        elif self._count >= self._bound and scope["path"] not in _ALWAYS:
            text = "Too many requests are under way"
            refusal = error_response(503, TEMPORARILY_UNAVAILABLE, text, {"retry-after": "1"})
            await refusal(scope, receive, send_with_cors)
        else:
            await self._serve(scope, receive, send_with_cors)
        operation = _operation(scope)
        _requests.labels(operation, status).inc()
        _seconds.labels(operation).observe(time.perf_counter() - began_at)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._count += 1
        _under_way.set(self._count)
        try:
            await self._app(scope, receive, send)
        except Exception:
            # The answer is out already: the app's handler of last resort made it.
            log.exception("api.request_failed", method=scope["method"], path=scope["path"])
        finally:
            self._count -= 1
            _under_way.set(self._count)


def _operation(scope: Scope) -> str:
    """The name of the operation that the request was routed to, if it came that far."""
    route = scope.get("route")
    return route.name if isinstance(route, Route) else "none"
