"""The floors alone: what the machine can do, without a server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.floor import RUN, Way, by_way, floors_us
from loadtest.report import Figure, Measurement

if TYPE_CHECKING:
    from loadtest.scenarios.crowds import Tell


@dataclass(frozen=True, slots=True)
class FloorOptions:
    """Options: `run` packets per GSO send."""

    receivers: int = 40
    rounds: int = 5
    size: int = 1200
    run: int = RUN


async def run(options: FloorOptions, tell: Tell) -> Measurement:
    """On the lowest core. Raises OSError if the kernel drops packets."""
    found: list[dict[Way, float]] = []
    core = min(os.sched_getaffinity(0))
    for number in range(options.rounds):
        tell("rounds", number, options.rounds)
        found.append(await floors_us(options.receivers, core, size=options.size, run=options.run))
    figures = tuple(
        Figure(f"seal and {way}, {options.receivers} receivers", "us", values)
        for way, values in by_way(found).items()
    )
    return Measurement("floor", "Floor", {"bytes per RTP packet": options.size, "run": options.run}, figures)
