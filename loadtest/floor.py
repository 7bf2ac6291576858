"""The least that a fan-out can cost on this machine, measured in the same run as what is compared to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal

from loadtest.meter import pinned
from loadtest.seal import Floor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Way = Literal["sendto", "sendmmsg", "gso"]

WAYS: Final[tuple[Way, ...]] = ("sendto", "sendmmsg", "gso")
"""How the sealed packets leave: one call each, one per 32, or one per run of packets to one receiver."""

RUN: Final = 10  # packets of a run: a frame of 4 Mbit/s at 50 frames a second
PACKETS: Final = 20_000  # of each way, some 50 ms: long against the clock, short against a round


async def floors_us(
    receivers: int, core: int, *, size: int = 1200, run: int = RUN, packets: int = PACKETS
) -> dict[Way, float]:
    """CPU microseconds per delivered packet of one AES-128-GCM seal and its share of a send, on `core`.

    The server should be idle meanwhile: its core is the one to measure on.
    """

    def work() -> dict[Way, float]:
        with pinned({core}):
            floor = Floor(receivers)
            try:
                each = max(1, packets // receivers)
                return {way: floor.measure_ns(way, each, size, run) / 1000 for way in WAYS}
            finally:
                floor.close()

    return await asyncio.to_thread(work)


def by_way(rounds: Sequence[Mapping[Way, float]]) -> dict[str, tuple[float, ...]]:
    """The rounds' floors as `Figure.floors` wants them."""
    return {way: tuple(floors[way] for floors in rounds) for way in WAYS}
