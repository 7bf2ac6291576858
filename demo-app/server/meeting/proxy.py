"""The session API as the demo page may use it: without the secret, for its own sessions alone.

A page that makes a session gets a cookie whose path is that session's and whose value only this
proxy can make (HMAC of the session id under a key derived from the app's secret). The browser sends
it with calls for that session and no others, scripts can't read it, and the proxy keeps no state: any
process that has the secret knows every cookie. Known session ids are no use without the cookie.

Passed on: the six operations on sessions and tracks, without query parameters. A pull may name the
session itself only. Bodies are written anew from what was checked, so that no two readers can differ
about them. The answers are the API's own, byte for byte; the proxy's refusals look like them.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import time
from dataclasses import dataclass
from typing import Any, cast

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sfu.base.settings import ByteSize, Setting

DEMO = Setting(
    "demo.enabled", bool, True, help="Serve the demo page at /; anyone who loads it may use the SFU"
)
DEMO_BODY_BYTES = Setting(
    "demo.body_limit",
    ByteSize,
    ByteSize(1 << 20),
    unit="B",
    minimum=1024,
    help="Largest request of a demo page",
)
DEMO_UNDER_WAY = Setting(
    "demo.under_way", int, 256, minimum=1, help="Requests of demo pages under way at one time; more get 503"
)
DEMO_SESSIONS_PER_MINUTE = Setting(
    "demo.sessions_per_minute",
    int,
    300,
    minimum=1,
    help="Sessions that demo pages may make in a minute, all together; more are answered 429",
)

_COOKIE = "meeting_session"
_COOKIE_LIFE_S = 86_400  # chosen: longer than a call, shorter than a browser's memory
_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_OPERATIONS = [
    ("POST", "tracks/new"),
    ("PUT", "renegotiate"),
    ("PUT", "tracks/close"),
    ("PUT", "tracks/update"),
]


@dataclass(frozen=True, slots=True)
class ProxyLimits:
    """Bounds on what pages may ask of the proxy."""

    body_bytes: int = DEMO_BODY_BYTES.default
    """The largest request body that is passed on."""
    under_way: int = DEMO_UNDER_WAY.default
    """Requests passed on at one time; more are refused with 503."""
    sessions_per_minute: int = DEMO_SESSIONS_PER_MINUTE.default
    """New sessions of all pages: anyone may load the page, and a node has room for so many."""
    body_s: float = 10.0
    """Time in which a request's body must arrive."""
    answer_s: float = 30.0
    """How long the API may take; a pull waits up to 8 s for its publisher's media."""


DEFAULT_LIMITS = ProxyLimits()


class _Refusal(Exception):
    """A request that is not passed on: HTTP status, the API's error code, and a text for the reader."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text

    def response(self) -> Response:
        return JSONResponse({"errorCode": self.code, "errorDescription": self.text}, status_code=self.status)


class SessionProxy:
    """Passes calls of pages on to the session API and adds the app's secret."""

    def __init__(self, client: httpx.AsyncClient, app_id: str, secret: str, limits: ProxyLimits) -> None:
        self._client = client
        self._root = f"/v1/apps/{app_id}/sessions"
        self._authorization = f"Bearer {secret}"
        self._cookie_key = hmac.digest(secret.encode(), b"orchard meeting session cookie", "sha256")
        self._limits = limits
        self._under_way = 0
        self._sessions_left = float(limits.sessions_per_minute)
        self._counted_at = time.monotonic()

    def routes(self) -> list[Route]:
        """The routes below the mount point, with the paths that the API itself has."""
        operations = [
            Route(f"/sessions/{{session_id}}/{path}", self._operate, methods=[method])
            for method, path in _OPERATIONS
        ]
        return [
            Route("/sessions/new", self._new_session, methods=["POST"]),
            *operations,
            Route("/sessions/{session_id}", self._inspect, methods=["GET"]),
        ]

    def _cookie_value(self, session_id: str) -> str:
        return hmac.digest(self._cookie_key, session_id.encode(), "sha256").hex()

    async def _new_session(self, request: Request) -> Response:
        try:
            _check_same_origin(request)
            self._count_session(time.monotonic())
            answer = await self._pass_on("POST", "/new", b"")
        except _Refusal as refusal:
            return refusal.response()
        session_id = _session_id_of(answer)
        response = _copied(answer)
        if session_id is not None:
            response.set_cookie(
                _COOKIE,
                self._cookie_value(session_id),
                max_age=_COOKIE_LIFE_S,
                path=request.url.path.removesuffix("new") + session_id,
                secure=request.url.scheme == "https",
                httponly=True,
                samesite="strict",
            )
        return response

    def _count_session(self, now: float) -> None:
        """Let one more be made, unless a minute's worth was made of late. Raises _Refusal."""
        per_minute = self._limits.sessions_per_minute
        came = (now - self._counted_at) / 60 * per_minute
        self._sessions_left = min(per_minute, self._sessions_left + came)
        self._counted_at = now
        if self._sessions_left < 1:
            raise _Refusal(429, "rate_limited", "Too many sessions were made. Try again in a minute.")
        self._sessions_left -= 1

    async def _operate(self, request: Request) -> Response:
        try:
            session_id = self._owned_session(request)
            body = _checked_body(await self._body(request), session_id)
            operation = request.url.path.partition(f"/{session_id}/")[2]
            return _copied(await self._pass_on(request.method, f"/{session_id}/{operation}", body))
        except _Refusal as refusal:
            return refusal.response()

    async def _inspect(self, request: Request) -> Response:
        try:
            return _copied(await self._pass_on("GET", f"/{self._owned_session(request)}", b""))
        except _Refusal as refusal:
            return refusal.response()

    def _owned_session(self, request: Request) -> str:
        """The session of the path, if the page has its cookie. Raises _Refusal."""
        _check_same_origin(request)
        session_id: str = request.path_params["session_id"]
        if _SESSION_ID.fullmatch(session_id) is None:
            raise _Refusal(404, "not_found", "This is not a session id.")
        given = request.cookies.get(_COOKIE, "")
        if not hmac.compare_digest(given.encode(), self._cookie_value(session_id).encode()):
            raise _Refusal(403, "unauthorized", "This page did not make this session, or its cookie is gone.")
        return session_id

    async def _body(self, request: Request) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_s):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > self._limits.body_bytes:
                        limit = self._limits.body_bytes
                        raise _Refusal(413, "payload_too_large", f"At most {limit:d} bytes are passed on.")
                    chunks.append(chunk)
        except TimeoutError as error:
            raise _Refusal(408, "request_timeout", "The body did not arrive in time.") from error
        except ClientDisconnect as error:
            raise _Refusal(400, "decoding_error", "The request ended before its body did.") from error
        return b"".join(chunks)

    async def _pass_on(self, method: str, path: str, body: bytes) -> httpx.Response:
        """Ask the API; at most `under_way` at a time. Raises _Refusal."""
        if self._under_way >= self._limits.under_way:
            raise _Refusal(
                503, "temporarily_unavailable_error", "Too many requests under way. Try again soon."
            )
        headers = {"authorization": self._authorization, "content-type": "application/json"}
        self._under_way += 1
        try:
            async with asyncio.timeout(self._limits.answer_s):
                return await self._client.request(
                    method, self._root + path, content=body, headers=headers, timeout=self._limits.answer_s
                )
        except (httpx.TimeoutException, TimeoutError) as error:
            raise _Refusal(504, "backend_error", "The media server took too long to answer.") from error
        except httpx.HTTPError as error:
            raise _Refusal(502, "backend_error", "The media server can't be reached.") from error
        finally:
            self._under_way -= 1


def _check_same_origin(request: Request) -> None:
    """Refuse calls that another site's page makes with this page's cookies. Raises _Refusal."""
    # Every browser of this decade sends the header; other clients hold no visitor's cookies to abuse.
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise _Refusal(403, "unauthorized", "Only the demo's own page may call this.")


def _checked_body(body: bytes, session_id: str) -> bytes:
    """The JSON to pass on. Raises _Refusal for what is no JSON object and for pulls from others' sessions."""
    try:
        parsed: Any = json.loads(body)
        written = json.dumps(parsed).encode()
    except (ValueError, RecursionError) as error:
        raise _Refusal(400, "decoding_error", "The request could not be decoded.") from error
    if not isinstance(parsed, dict):
        raise _Refusal(400, "decoding_error", "The request is not a JSON object.")
    tracks: Any = cast("dict[str, Any]", parsed).get("tracks")
    for item in cast("list[Any]", tracks) if isinstance(tracks, list) else []:
        for name, named in cast("dict[str, Any]", item).items() if isinstance(item, dict) else ():
            # In whatever spelling: an API that takes more than one must not open a way round.
            if name.replace("_", "").lower() == "sessionid" and named not in (None, session_id):
                raise _Refusal(403, "unauthorized", "The demo page pulls tracks of its own session only.")
    return written


def _session_id_of(answer: httpx.Response) -> str | None:
    """The session id in the answer to `sessions/new`, or None where there is none."""
    if answer.status_code != 201:
        return None
    try:
        session_id: Any = answer.json().get("sessionId")
    except (ValueError, AttributeError):
        return None
    valid = isinstance(session_id, str) and _SESSION_ID.fullmatch(session_id) is not None
    return session_id if valid else None


def _copied(answer: httpx.Response) -> Response:
    headers = {"content-type": answer.headers.get("content-type", "application/json")}
    if "retry-after" in answer.headers:
        headers["retry-after"] = answer.headers["retry-after"]
    return Response(answer.content, status_code=answer.status_code, headers=headers)
