"""The least that a fan-out can cost on this machine, measured in the same run as what is compared to it."""

from __future__ import annotations

import asyncio
from typing import Final

from loadtest.meter import pinned
from loadtest.seal import floor_ns

PACKETS: Final = 20_000  # some 50 ms: long against the clock, short against a round


async def floor_us(receivers: int, core: int, *, size: int = 1200, packets: int = PACKETS) -> float:
    """CPU microseconds per delivered packet of one AES-128-GCM seal and one sendto, on `core`.

    The server should be idle meanwhile: its core is the one to measure on.
    """

    def work() -> float:
        with pinned({core}):
            return floor_ns(receivers, max(1, packets // receivers), size) / 1000

    return await asyncio.to_thread(work)
