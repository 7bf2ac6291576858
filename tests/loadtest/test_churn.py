"""What sessions leave behind: nothing.

One process holds the server and its clients, so that the server's tasks and tables can be looked at.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from loadtest.api import RemoteTrack
from loadtest.api import Server as Address
from loadtest.crowd import Crowd
from loadtest.scenarios import churn
from loadtest.scenarios.crowds import publish, subscribe
from loadtest.server import OwnServer
from loadtest.source import Media
from sfu.api.listener import HTTP_LISTEN
from sfu.api.server import Server
from sfu.base.settings import Config, Listen
from sfu.node import APPS, DATA, MEDIA_LISTEN
from sfu.sessions.service import UNCONNECTED_LIFE_S

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

APP, SECRET = "ab" * 16, "cd" * 32
FLOWING = Media.video(packets_per_s=20, size=300)
DEADLINE_S = 20.0
SESSIONS = 90  # of a round


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Server]:
    config = Config(
        {
            HTTP_LISTEN: Listen("127.0.0.1", 0),
            MEDIA_LISTEN: Listen("127.0.0.1", 0),
            DATA: str(tmp_path / "data"),
            APPS: (f"{APP}:{SECRET}",),
            UNCONNECTED_LIFE_S: 3.0,
        }
    )
    server = Server(config)
    await server.start()
    yield server
    await server.stop()


async def held(server: Server) -> dict[str, float]:
    """Everything that a session could leave behind; the server's gauges are brought up to date by itself."""
    gauges = {
        f"{sample.name} {sample.labels}": sample.value
        for family in REGISTRY.collect()
        if family.type == "gauge" and family.name.startswith("orchard_")
        for sample in family.samples
    }
    return {
        **gauges,
        **server.node.sizes(),
        "sessions": len(await server.node.directory.list_sessions(None)),
        "asyncio tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


async def same(server: Server, wanted: dict[str, float] | None = None) -> dict[str, float]:
    """Wait until all is as wanted, or else as a moment before; fail with what is not."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_S
    last = {} if wanted is None else wanted
    while (now := await held(server)) != last:
        differs = {name: (last.get(name), now.get(name)) for name in now if last.get(name) != now.get(name)}
        assert loop.time() < deadline, f"before and now: {differs}"
        last = now if wanted is None else wanted
        await asyncio.sleep(1.5)  # longer than the second in which the server counts itself
    return now


async def blocks_when(server: Server, wanted: dict[str, float]) -> int:
    """Blocks of memory that Python holds once all is as wanted."""
    await same(server, wanted)
    gc.collect()
    return sys.getallocatedblocks()


async def come_and_go(address: Address, track: RemoteTrack) -> None:
    """20 sessions in sequence, 10 at once, 60 that never connect: half of these have pushed an offer."""
    async with Crowd(address) as crowd:
        for _ in range(20):
            (await subscribe(crowd, [track])).close()
        for peer in await asyncio.gather(*(subscribe(crowd, [track]) for _ in range(10))):
            peer.close()
        for number in range(60):
            peer = await crowd.peer()
            if number % 2:
                await peer.offer_only([FLOWING])
            peer.close()
        assert crowd.failures == {}


async def test_sessions_in_sequence_at_once_and_unconnected_leave_nothing(server: Server) -> None:
    address = Address(f"{server.url}/v1", APP, SECRET)
    async with Crowd(address) as keeper:  # one publisher stays: an idle server need not count itself
        _, [source] = await publish(keeper, [FLOWING])
        await keeper.api.close()
        before = await same(server)
        await come_and_go(address, source.track)  # what the first sessions load and cache is no leak
        blocks = await blocks_when(server, before)
        await come_and_go(address, source.track)
        left = await blocks_when(server, before) - blocks
        # A session that is there has hundreds; what is left are timers that go when they would have been due.
        assert left < 20 * SESSIONS


def quietly(_what: str, _done: int, _total: int) -> None:
    """Tell nobody how far it is."""


@pytest.mark.long
async def test_thousands_of_sessions_leave_nothing() -> None:
    """2,000 connected in sequence, 300 at once, 20,000 never connected; three times, against one process.

    Gauges and descriptors are held to what they were by the scenario. A heap breathes by some megabytes;
    what is left behind for each session would show as many more from the first round to the last.
    """
    bench = OwnServer(min(os.sched_getaffinity(0)))
    measurement = await churn.run(bench, churn.Churn(rounds=3), quietly)
    [memory] = [
        figure for figure in measurement.figures if figure.name == "memory when settled after each round"
    ]
    assert memory.values[-1] - memory.values[0] < 8  # MiB: 200 bytes for each session of two rounds
