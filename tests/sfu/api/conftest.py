from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from sfu.api.app import ApiLimits, create_app
from sfu.base.ids import AppId
from sfu.directory.interface import App, digest_secret
from sfu.directory.memory import MemoryDirectory
from tests.sfu.api.asgi import client
from tests.sfu.api.canned import CannedService

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    import httpx

    Serve = Callable[..., AbstractAsyncContextManager[tuple[httpx.AsyncClient, CannedService]]]

APP = AppId("app-1")
SECRET = "secret-1"
OLD_SECRET = "secret-0"
AUTH = {"authorization": f"Bearer {SECRET}"}


@asynccontextmanager
async def _serve(
    answer: object = None,
    *,
    bounds: ApiLimits | None = None,
    not_ready: str | None = None,
    metrics_secret: str = "",
    headers: dict[str, str] = AUTH,
) -> AsyncGenerator[tuple[httpx.AsyncClient, CannedService]]:
    directory = MemoryDirectory()
    await directory.put_app(App(APP, "test", (digest_secret(SECRET), digest_secret(OLD_SECRET)), 0.0))
    service = CannedService(answer)
    app = create_app(
        service, directory, not_ready=lambda: not_ready, bounds=bounds, metrics_secret=metrics_secret
    )
    async with client(app, headers) as api:
        yield api, service


@pytest.fixture
def serve() -> Serve:
    """Makes an API in this process over a canned service, and a client that has the app's secret."""
    return _serve
