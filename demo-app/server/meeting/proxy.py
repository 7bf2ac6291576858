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

import hmac
import time
from typing import TYPE_CHECKING

from starlette.routing import Route

from meeting.upstream import (
    OPERATIONS,
    SESSION_ID,
    ProxyLimits,
    Refused,
    Upstream,
    check_same_origin,
    checked_body,
    copied,
    named_sessions,
    session_id_of,
)
from sfu.base.settings import Setting

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

DEMO = Setting(
    "demo.enabled", bool, True, help="Serve the meeting app at /; anyone who loads it may use the SFU"
)
_COOKIE = "meeting_session"
_COOKIE_LIFE_S = 86_400  # chosen: longer than a call, shorter than a browser's memory


class SessionProxy:
    """Passes calls of pages on to the session API and adds the app's secret."""

    def __init__(self, upstream: Upstream, secret: str, limits: ProxyLimits) -> None:
        self._upstream = upstream
        self._cookie_key = hmac.digest(secret.encode(), b"orchard meeting session cookie", "sha256")
        self._limits = limits
        self._sessions_left = float(limits.sessions_per_minute)
        self._counted_at = time.monotonic()

    def routes(self) -> list[Route]:
        """The routes below the mount point, with the paths that the API itself has."""
        operations = [
            Route(f"/sessions/{{session_id}}/{path}", self._operate, methods=[method])
            for method, path in OPERATIONS
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
            check_same_origin(request)
            self._count_session(time.monotonic())
            answer = await self._upstream.pass_on("POST", "/new", b"")
        except Refused as refusal:
            return refusal.response()
        session_id = session_id_of(answer)
        response = copied(answer)
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
        """Let one more be made, unless a minute's worth was made of late. Raises Refused."""
        per_minute = self._limits.sessions_per_minute
        came = (now - self._counted_at) / 60 * per_minute
        self._sessions_left = min(per_minute, self._sessions_left + came)
        self._counted_at = now
        if self._sessions_left < 1:
            raise Refused(429, "rate_limited", "Too many sessions were made. Try again in a minute.")
        self._sessions_left -= 1

    async def _operate(self, request: Request) -> Response:
        try:
            session_id = self._owned_session(request)
            parsed, body = checked_body(await self._upstream.body(request))
            if any(named != session_id for named in named_sessions(parsed)):
                raise Refused(403, "unauthorized", "This page pulls tracks of its own session only.")
            operation = request.url.path.partition(f"/{session_id}/")[2]
            return copied(await self._upstream.pass_on(request.method, f"/{session_id}/{operation}", body))
        except Refused as refusal:
            return refusal.response()

    async def _inspect(self, request: Request) -> Response:
        try:
            return copied(await self._upstream.pass_on("GET", f"/{self._owned_session(request)}", b""))
        except Refused as refusal:
            return refusal.response()

    def _owned_session(self, request: Request) -> str:
        """The session of the path, if the page has its cookie. Raises Refused."""
        check_same_origin(request)
        session_id: str = request.path_params["session_id"]
        if SESSION_ID.fullmatch(session_id) is None:
            raise Refused(404, "not_found", "This is not a session id.")
        given = request.cookies.get(_COOKIE, "")
        if not hmac.compare_digest(given.encode(), self._cookie_value(session_id).encode()):
            raise Refused(403, "unauthorized", "This page did not make this session, or its cookie is gone.")
        return session_id
