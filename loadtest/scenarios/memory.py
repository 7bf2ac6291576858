"""What a subscriber weighs: the slope of the server's memory over their number."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.crowd import Crowd
from loadtest.meter import slope
from loadtest.report import Figure, Measurement
from loadtest.scenarios.crowds import fill, publish
from loadtest.source import Media

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench, Target

FLOWING = Media.video(packets_per_s=50, size=1200)


@dataclass(frozen=True, slots=True)
class Memory:
    """Options: subscribers are added in `steps` steps of `step`; memory is read `settle_s` after each."""

    rounds: int = 5
    step: int = 100
    steps: int = 4
    settle_s: float = 5.0


async def run(bench: Bench, options: Memory, tell: Tell) -> Measurement:
    """One slope per round. A server that is not `fresh` has grown already, so it gets one round only."""
    rounds = options.rounds if bench.fresh else 1
    slopes: list[float] = []
    for number in range(rounds):
        async with bench.target() as target:
            slopes.append(await _round(target, options, lambda d, t, n=number: tell(f"round {n + 1}", d, t)))
    return Measurement(
        "memory",
        "Memory per subscriber",
        {
            "subscribers": options.step * options.steps,
            "steps": options.steps,
            "settled for s": options.settle_s,
        },
        (Figure("memory per subscriber", "KiB", tuple(slope / 1024 for slope in slopes)),),
        (
            "Least-squares slope of the server's own memory over the number of subscribers of one video, "
            "media flowing; a new server in each round, since a heap that has grown once hides what the next "
            "ones take.",
        ),
    )


async def _round(target: Target, options: Memory, tell: Callable[[int, int], None]) -> float:
    total = options.step * options.steps
    async with Crowd(target.server) as crowd:
        _, [source] = await publish(crowd, [FLOWING])
        # The first few load code and fill pools that all share; they are not on the slope.
        await fill(crowd, [source.track], options.step, lambda _: None)
        await asyncio.sleep(options.settle_s)
        points = [(0.0, float(target.meter.private_bytes()))]
        for step in range(options.steps):
            await fill(
                crowd, [source.track], options.step, lambda done, s=step: tell(s * options.step + done, total)
            )
            await asyncio.sleep(options.settle_s)
            points.append(((step + 1.0) * options.step, float(target.meter.private_bytes())))
        return slope(points)
