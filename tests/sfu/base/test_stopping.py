"""How urgently a server is to end."""

from __future__ import annotations

import asyncio
import os
import signal

from sfu.base.stopping import StopRequests


async def test_each_signal_asks_for_more_and_none_for_less() -> None:
    stop = StopRequests()
    stop.heed_signals()
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(stop.wait_drain(), 5)
        assert not stop.asked
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stop.wait(), 5)
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(stop.wait_now(), 5)
        assert stop.asked
    finally:
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)


async def test_a_drain_is_over_when_nothing_is_left_when_its_time_is_or_when_the_end_is_asked_for() -> None:
    left = asyncio.Event()

    async def empty() -> None:
        await left.wait()

    stop = StopRequests()
    stop.ask_when_empty()
    await asyncio.wait_for(stop.wait_or(empty, 0), 5)
    draining = asyncio.create_task(stop.wait_or(empty, 60))
    await asyncio.sleep(0)
    assert not draining.done()
    left.set()
    await asyncio.wait_for(draining, 5)
    left.clear()
    draining = asyncio.create_task(stop.wait_or(empty, 60))
    await asyncio.sleep(0)
    stop.ask()
    await asyncio.wait_for(draining, 5)
    await asyncio.wait_for(stop.wait_or(empty, 60), 5)
