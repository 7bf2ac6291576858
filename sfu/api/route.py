"""What every operation of the API goes through before its body is even read.

In order: who may ask, and how often, then the body, bounded in size and in time and taken for JSON
whatever its content type says (clients send JSON as `text/plain` or with no type).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute
from prometheus_client import Counter
from pydantic_core import from_json
from starlette.requests import Request

from sfu.api.auth import authenticate
from sfu.api.errors import BODY_INVALID, ApiError
from sfu.base.ids import AppId

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from starlette.responses import Response

    from sfu.base.rates import Rates
    from sfu.directory.interface import Directory

    Handler = Callable[[Request], Coroutine[Any, Any, Response]]
    Admit = Callable[[Request], Awaitable[None]]
    """Lets a request pass, or raises ApiError."""


_JSON = (b"content-type", b"application/json")

_refused = Counter("orchard_api_refused_total", "API calls refused before their work began", ["reason"])


@dataclass(frozen=True, slots=True)
class Guard:
    """What stands before each operation. `body_bytes` and `body_timeout_s` bound one body."""

    admit: Admit
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

    async def json(self) -> Any:
        """The body's value. Raises ApiError 400; what it says of the place repeats nothing of the body."""
        try:
            # Unlike the standard library's reader it refuses lone surrogates, which no JSON writer takes.
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise ApiError(400, f"{BODY_INVALID}{error}") from None

    async def _read(self) -> bytes:
        bound = self._guard.body_bytes
        too_large = ApiError(413, f"The body has more than {bound:d} bytes")
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

            async def guarded(request: Request) -> Response:
                await guard.admit(request)
                return await handle(_BoundedRequest(request, guard))

            return guarded

    return GuardedRoute


def count_refused(reason: str) -> None:
    """Note that a call was refused before its work began."""
    _refused.labels(reason).inc()


def admit_app(directory: Directory, rate: Rates) -> Admit:
    """Lets a request pass whose secret is the app's, within its session's rate; else 401, 404, 429."""

    async def admit(request: Request) -> None:
        app = request.path_params["appId"]
        try:
            await authenticate(directory, AppId(app), request.headers)
        except ApiError as error:
            count_refused("secret" if error.status_code == 401 else "app")
            raise
        session = request.path_params.get("sessionId")
        if session is None:
            return
        # The app is in the key: a stranger with a secret of his own can't use up another app's calls. An id
        # of ours has 32 characters; what is longer may share its calls.
        key = f"{app}/{session[:40]}"
        if not rate.allow(key, asyncio.get_running_loop().time()):
            count_refused("rate")
            raise ApiError(429, "Too many calls for this session", {"retry-after": "1"})

    return admit
