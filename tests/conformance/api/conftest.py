from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.conformance.api.calls import Session, open_session
from tests.conformance.api.server import Server, client_of, other_server, own_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import httpx

    OpenSession = Callable[[], Awaitable[Session]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server() -> AsyncGenerator[Server]:
    """The server under test."""
    named = other_server()
    if named is not None:
        yield named
        return
    async with own_server() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(server: Server) -> AsyncGenerator[httpx.AsyncClient]:
    """A client with the app's secret, for paths below the app."""
    async with client_of(server) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def new_session(server: Server, client: httpx.AsyncClient) -> AsyncGenerator[OpenSession]:
    """Opens sessions whose peers are closed in the end."""
    opened: list[Session] = []

    async def open_one() -> Session:
        opened.append(await open_session(server, client))
        return opened[-1]

    yield open_one
    for session in opened:
        await session.peer.close()
