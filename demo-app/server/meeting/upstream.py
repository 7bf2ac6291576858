"""The session API as this app's proxies reach it: with the app's secret, within bounds.

Bodies are bounded in size and time, calls in number; what is refused here looks as if the API had refused it.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any, Final, cast

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from sfu.base.settings import ByteSize, Setting

DEMO_BODY_BYTES = Setting(
    "demo.body_limit",
    ByteSize,
    ByteSize(1 << 20),
    unit="B",
    minimum=1024,
    help="Largest request of a page of the meeting app",
)
DEMO_UNDER_WAY = Setting(
    "demo.under_way", int, 256, minimum=1, help="Requests of pages under way at one time; more get 503"
)
DEMO_SESSIONS_PER_MINUTE = Setting(
    "demo.sessions_per_minute",
    int,
    300,
    minimum=1,
    help="Sessions that pages without a room may make in a minute, all together; more are answered 429",
)

SESSION_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
OPERATIONS: Final = (
    ("POST", "tracks/new"),
    ("PUT", "renegotiate"),
    ("PUT", "tracks/close"),
    ("PUT", "tracks/update"),
)
"""What a page may do with a session of its own, besides looking at it."""


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


class Refused(Exception):
    """A request that is not passed on: HTTP status, the API's error code, and a text for the reader."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text

    def response(self) -> Response:
        return JSONResponse({"errorCode": self.code, "errorDescription": self.text}, status_code=self.status)


class Upstream:
    """The sessions of one app."""

    def __init__(self, client: httpx.AsyncClient, app_id: str, secret: str, limits: ProxyLimits) -> None:
        self._client = client
        self._root = f"/v1/apps/{app_id}/sessions"
        self._authorization = f"Bearer {secret}"
        self._limits = limits
        self._under_way = 0

    async def body(self, request: Request) -> bytes:
        """The whole body of a page's request. Raises Refused."""
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_s):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > self._limits.body_bytes:
                        limit = self._limits.body_bytes
                        raise Refused(413, "payload_too_large", f"At most {limit:d} bytes are passed on.")
                    chunks.append(chunk)
        except TimeoutError as error:
            raise Refused(408, "request_timeout", "The body did not arrive in time.") from error
        except ClientDisconnect as error:
            raise Refused(400, "decoding_error", "The request ended before its body did.") from error
        return b"".join(chunks)

    async def pass_on(self, method: str, path: str, body: bytes) -> httpx.Response:
        """Ask the API; at most `under_way` at a time. Raises Refused."""
        if self._under_way >= self._limits.under_way:
            raise Refused(
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
            raise Refused(504, "backend_error", "The media server took too long to answer.") from error
        except httpx.HTTPError as error:
            raise Refused(502, "backend_error", "The media server can't be reached.") from error
        finally:
            self._under_way -= 1


def check_same_origin(request: Request) -> None:
    """Refuse calls that another site's page makes with this page's cookies. Raises Refused."""
    # Every browser of this decade sends the header; other clients hold no visitor's cookies to abuse.
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "unauthorized", "Only this site's own page may call this.")


def checked_body(body: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON object of a body, and that written anew, so that no two readers differ. Raises Refused."""
    try:
        parsed: Any = json.loads(body)
        written = json.dumps(parsed).encode()
    except (ValueError, RecursionError) as error:
        raise Refused(400, "decoding_error", "The request could not be decoded.") from error
    if not isinstance(parsed, dict):
        raise Refused(400, "decoding_error", "The request is not a JSON object.")
    return cast("dict[str, Any]", parsed), written


def named_sessions(body: dict[str, Any]) -> list[Any]:
    """What the tracks of a request name as sessions, in whatever spelling: an API that takes more than one
    must not open a way round."""
    tracks: Any = body.get("tracks")
    return [
        named
        for item in (cast("list[Any]", tracks) if isinstance(tracks, list) else [])
        for name, named in (cast("dict[str, Any]", item).items() if isinstance(item, dict) else ())
        if name.replace("_", "").lower() == "sessionid" and named is not None
    ]


def session_id_of(answer: httpx.Response) -> str | None:
    """The session id in the answer to `sessions/new`, or None where there is none."""
    if answer.status_code != 201:
        return None
    try:
        session_id: Any = answer.json().get("sessionId")
    except (ValueError, AttributeError):
        return None
    valid = isinstance(session_id, str) and SESSION_ID.fullmatch(session_id) is not None
    return session_id if valid else None


def copied(answer: httpx.Response) -> Response:
    """The API's answer, for the page."""
    headers = {"content-type": answer.headers.get("content-type", "application/json")}
    if "retry-after" in answer.headers:
        headers["retry-after"] = answer.headers["retry-after"]
    return Response(answer.content, status_code=answer.status_code, headers=headers)
