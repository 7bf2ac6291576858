"""The HTTP half of a client: the session API that the server under test offers.

Any server of that API will do, so nothing here knows more than the API's own words. One `Api` is shared
by all clients of a process; connections are kept alive. What a client needs of a server at all is
`Signalling`: a server of another kind gets an adapter of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import httpx

if TYPE_CHECKING:
    from collections.abc import Sequence


KEEP_ALIVE_S = 2.0  # less than servers' 5 s: a call must not meet the end of its connection


class ApiError(Exception):
    """The server refused a call, or an item of it: `status` of HTTP, `code` and text of the API."""

    def __init__(self, call: str, status: int, code: str, text: str) -> None:
        super().__init__(f"{call}: {status} {code}: {text}")
        self.call = call
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server under test is: `url` up to and without `/apps`, as `http://127.0.0.1:8080/v1`."""

    url: str
    app: str
    secret: str

    def open(self, *, connections: int) -> Signalling:
        """The calls to it."""
        return Api(self, connections=connections)


@dataclass(frozen=True, slots=True)
class RemoteTrack:
    """A publication, as one client tells another where to find it."""

    session: str
    name: str


class Site(Protocol):
    """A server of any kind; media is expected at the host of its `url` first."""

    @property
    def url(self) -> str:
        """Where its signalling is."""
        ...

    def open(self, *, connections: int) -> Signalling:
        """The calls to it, over so many connections at most."""
        ...


class Signalling(Protocol):
    """What clients ask a server for; `Api` has the words. Each call raises ApiError when refused."""

    async def close(self) -> None:
        """Close all connections."""
        ...

    async def new_session(self) -> str:
        """A session of one client; returns its id."""
        ...

    async def publish(self, session: str, offer: str, tracks: Sequence[tuple[str, str]]) -> str:
        """Publish (mid, track name) of the client's offer; returns the answer."""
        ...

    async def pull(self, session: str, tracks: Sequence[RemoteTrack]) -> str:
        """Subscribe; returns the server's offer."""
        ...

    async def answer(self, session: str, answer: str) -> None:
        """Answer the server's offer."""
        ...

    async def close_tracks(self, session: str, mids: Sequence[str]) -> None:
        """Close by mid."""
        ...


class Api:
    """The calls. Each raises ApiError when refused, and httpx's errors when the server can't be reached."""

    def __init__(self, server: Server, *, connections: int = 64, timeout_s: float = 30.0) -> None:
        self.server = server
        self._http = httpx.AsyncClient(
            base_url=f"{server.url.rstrip('/')}/apps/{server.app}",
            headers={"Authorization": f"Bearer {server.secret}"},
            timeout=timeout_s,
            limits=httpx.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=KEEP_ALIVE_S,
            ),
            trust_env=False,
            verify=False,  # noqa: S501 a test server's certificate is its own; what is measured is not trust
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def new_session(self) -> str:
        """Make a session; returns its id."""
        return str((await self._call("POST", "/sessions/new"))["sessionId"])

    async def publish(self, session: str, offer: str, tracks: Sequence[tuple[str, str]]) -> str:
        """Publish (mid, track name) of the client's offer; returns the answer."""
        body = {
            "sessionDescription": {"type": "offer", "sdp": offer},
            "tracks": [{"location": "local", "mid": mid, "trackName": name} for mid, name in tracks],
        }
        reply = await self._call("POST", f"/sessions/{session}/tracks/new", body)
        return _description(reply)

    async def pull(self, session: str, tracks: Sequence[RemoteTrack]) -> str:
        """Subscribe; returns the server's offer, which wants an answer by `answer`."""
        items = [{"location": "remote", "sessionId": t.session, "trackName": t.name} for t in tracks]
        reply = await self._call("POST", f"/sessions/{session}/tracks/new", {"tracks": items})
        return _description(reply)

    async def answer(self, session: str, answer: str) -> None:
        """Answer the server's offer."""
        body = {"sessionDescription": {"type": "answer", "sdp": answer}}
        await self._call("PUT", f"/sessions/{session}/renegotiate", body)

    async def close_tracks(self, session: str, mids: Sequence[str]) -> None:
        """Close by mid, without SDP (`force`)."""
        body = {"tracks": [{"mid": mid} for mid in mids], "force": True}
        await self._call("PUT", f"/sessions/{session}/tracks/close", body)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        response = await self._http.request(method, path, json=body)
        call = f"{method} {path.rsplit('/', 2)[-2]}/{path.rsplit('/', 1)[-1]}"
        try:
            reply: Any = response.json()
        except ValueError:
            raise ApiError(call, response.status_code, "no JSON", response.text[:200]) from None
        if not isinstance(reply, dict):
            raise ApiError(call, response.status_code, "no JSON object", response.text[:200])
        fields = cast("dict[str, Any]", reply)
        failed: list[dict[str, Any]] = [fields, *fields.get("tracks", [])]
        for part in failed:
            if part.get("errorCode"):
                raise ApiError(
                    call, response.status_code, part["errorCode"], part.get("errorDescription", "")
                )
        if response.is_error:
            raise ApiError(call, response.status_code, "no errorCode", response.text[:200])
        return fields


def _description(reply: dict[str, Any]) -> str:
    return str(reply["sessionDescription"]["sdp"])
