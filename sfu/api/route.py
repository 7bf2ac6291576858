"""What every operation of the API goes through before its body is even read.

In order: the app's secret, the session's call rate, then the body, bounded in size and in time and
taken for JSON whatever its content type says (clients send JSON as `text/plain` or with no type).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute
from prometheus_client import Counter, Histogram
from starlette.requests import Request

from sfu.api.auth import authenticate
from sfu.api.errors import ApiError
from sfu.base.ids import AppId
from sfu.base.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.responses import Response

    from sfu.api.limits import CallRate
    from sfu.directory.interface import Directory

    Handler = Callable[[Request], Coroutine[Any, Any, Response]]

log = get_logger("api")

_JSON = (b"content-type", b"application/json")

_calls = Counter("orchard_api_calls_total", "API calls answered without a fault", ["operation", "status"])
_refused = Counter("orchard_api_refused_total", "API calls refused before their work began", ["reason"])
_seconds = Histogram(
    "orchard_api_call_seconds",
    "Time from the request's head to its answer",
    ["operation"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
)


@dataclass(frozen=True, slots=True)
class Guard:
    """What stands before each operation. `body_bytes` and `body_timeout_s` bound one body."""

    directory: Directory
    rate: CallRate
    body_bytes: int
    body_timeout_s: float


class _BoundedRequest(Request):
    """A request whose body is JSON of bounded size, and here within bounded time."""

    def __init__(self, request: Request, guard: Guard) -> None:
        headers = [header for header in request.scope["headers"] if header[0] != b"content-type"]
        super().__init__({**request.scope, "headers": [*headers, _JSON]}, request.receive)
        self._guard = guard
        self._whole: bytes | None = None

    async def body(self) -> bytes:
        """The whole body. Raises ApiError 408 or 413; no more than the bound is ever held."""
        if self._whole is None:
            self._whole = await self._read()
        return self._whole

    async def _read(self) -> bytes:
        bound = self._guard.body_bytes
        too_large = ApiError(413, f"The body has more than {bound} bytes", {"connection": "close"})
        if _content_length(self) > bound:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._guard.body_timeout_s):
                async for chunk in self.stream():
                    body += chunk
                    if len(body) > bound:
                        raise too_large
        except TimeoutError:
            raise ApiError(408, "The body did not arrive in time", {"connection": "close"}) from None
        return bytes(body)


def _content_length(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def guarded_route(guard: Guard) -> type[APIRoute]:
    """The route class of operations that `guard` stands before."""

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()
            seconds = _seconds.labels(self.name)
            calls = _calls.labels(self.name, str(self.status_code or 200))

            async def guarded(request: Request) -> Response:
                with seconds.time():
                    await _admit(guard, request)
                    response = await handle(_BoundedRequest(request, guard))
                    calls.inc()
                    return response

            return guarded

    return GuardedRoute


async def _admit(guard: Guard, request: Request) -> None:
    """Let the request pass, or raise ApiError 401, 404 or 429."""
    app = request.path_params["appId"]
    try:
        await authenticate(guard.directory, AppId(app), request.headers)
    except ApiError as error:
        _refused.labels("secret" if error.status_code == 401 else "app").inc()
        raise
    session = request.path_params.get("sessionId")
    # The app is in the key: a stranger with a secret of his own can't use up another app's calls.
    if session is not None and not guard.rate.allow(f"{app}/{session}", asyncio.get_running_loop().time()):
        _refused.labels("rate").inc()
        raise ApiError(429, "Too many calls for this session", {"retry-after": "1"})
