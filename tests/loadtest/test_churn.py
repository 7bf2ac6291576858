"""What sessions leave behind: nothing.

One process holds the server and its clients, so that the server's tasks and tables can be looked at.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from loadtest.api import Server as Address
from loadtest.client import Crowd
from loadtest.scenarios import churn
from loadtest.scenarios.crowds import publish, subscribe
from loadtest.server import OwnServer
from loadtest.source import Media
from sfu.api.server import HTTP_LISTEN, Server
from sfu.base.settings import Config, Listen
from sfu.node import APPS, DATA, MEDIA_LISTEN
from sfu.sessions.service import UNCONNECTED_LIFE_S

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

APP, SECRET = "ab" * 16, "cd" * 32
FLOWING = Media.video(packets_per_s=20, size=300)
DEADLINE_S = 20.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Server]:
    config = Config(
        {
            HTTP_LISTEN: Listen("127.0.0.1", 0),
            MEDIA_LISTEN: Listen("127.0.0.1", 0),
            DATA: str(tmp_path / "data"),
            APPS: (f"{APP}:{SECRET}",),
            UNCONNECTED_LIFE_S: 1.0,
        }
    )
    server = Server(config)
    await server.start()
    yield server
    await server.stop()


async def held(server: Server) -> dict[str, int]:
    """Everything that a session could leave behind."""
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    return {
        **server.node.sizes(),
        "sessions": len(await server.node.directory.list_sessions(None)),
        "asyncio tasks": len(tasks),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


async def back(server: Server, before: dict[str, int]) -> None:
    """Wait until all is as before; else fail with what is not."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_S
    while (now := await held(server)) != before:
        assert asyncio.get_running_loop().time() < deadline, f"{before} before, {now} now"
        await asyncio.sleep(0.1)


async def test_sessions_in_sequence_at_once_and_unconnected_leave_nothing(server: Server) -> None:
    async with asyncio.timeout(DEADLINE_S):
        async with Crowd(Address(f"{server.url}/v1", APP, SECRET)) as warm_up:
            await publish(warm_up, [FLOWING])
        before = await held(server)
        async with Crowd(Address(f"{server.url}/v1", APP, SECRET)) as crowd:
            _, [source] = await publish(crowd, [FLOWING])
            for _ in range(20):
                (await subscribe(crowd, [source.track])).close()
            for peer in await asyncio.gather(*(subscribe(crowd, [source.track]) for _ in range(10))):
                peer.close()
            for number in range(60):
                peer = await crowd.peer()
                if number % 2:
                    await peer.offer_only([FLOWING])
                peer.close()
            assert crowd.failures == {}
    await back(server, before)


def quietly(_what: str, _done: int, _total: int) -> None:
    """Tell nobody how far it is."""


@pytest.mark.long
async def test_thousands_of_sessions_leave_nothing() -> None:
    """2,000 connected in sequence, 300 at once, 20,000 never connected; twice, against one process."""
    bench = OwnServer(min(os.sched_getaffinity(0)))
    measurement = await churn.run(bench, churn.Churn(), quietly)
    [growth] = [figure for figure in measurement.figures if figure.name.startswith("growth")]
    assert growth.median < 64  # bytes: the heap breathes by some hundred kilobytes, a leak has a size
