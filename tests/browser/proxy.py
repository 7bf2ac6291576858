"""The small proxy that stands between partytracks and the server: it adds the secret, no more.

Headers, query and body go on as the browser sent them, as the vendor's own proxy does it: the API sees
partytracks' `text/plain` bodies and its empty query strings.
"""

from __future__ import annotations

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_OF_THE_HOP = {"host", "connection", "content-length", "authorization", "accept-encoding", "cookie"}


class SecretProxy:
    """Passes `/partytracks/...` on to `root`; remembers what was asked for."""

    def __init__(self, root: str, secret: str) -> None:
        self._root = root
        self._secret = secret
        self._client = httpx.AsyncClient(timeout=30)
        self.calls: list[str] = []

    def routes(self) -> list[Route]:
        """Where partytracks asks by default."""
        return [
            Route("/partytracks/generate-ice-servers", self._ice_servers),
            Route("/partytracks/{path:path}", self._pass_on, methods=["GET", "POST", "PUT"]),
        ]

    async def close(self) -> None:
        """Close the connections to the server."""
        await self._client.aclose()

    async def _ice_servers(self, _request: Request) -> Response:
        return JSONResponse({"iceServers": []})

    async def _pass_on(self, request: Request) -> Response:
        path: str = request.path_params["path"]
        self.calls.append(f"{request.method} {path}")
        headers = {name: value for name, value in request.headers.items() if name not in _OF_THE_HOP}
        headers["authorization"] = f"Bearer {self._secret}"
        answer = await self._client.request(
            request.method,
            f"{self._root}/{path}?{request.url.query}",
            content=await request.body(),
            headers=headers,
        )
        kept = {"content-type": answer.headers["content-type"]}
        return Response(answer.content, status_code=answer.status_code, headers=kept)
