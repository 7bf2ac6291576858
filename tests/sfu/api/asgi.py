"""A client of an ASGI application in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import httpx

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def client(app: ASGIApp, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    """Close it by `async with`."""
    transport = httpx.ASGITransport(cast("Any", app))
    return httpx.AsyncClient(transport=transport, base_url="http://sfu.test", headers=headers)
