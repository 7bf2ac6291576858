"""Clients arrive at a steady rate while media flows: how long each waits, and what it costs.

Arrivals do not wait for each other (open loop): a server that falls behind sees them pile up, as it would
outside a laboratory. Each pulls a running video, stays a while and leaves.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

from loadtest.api import ApiError
from loadtest.client import ConnectFailed
from loadtest.crowd import Crowd
from loadtest.report import Figure, Measurement, Series
from loadtest.scenarios.crowds import fill, publish, subscribe
from loadtest.scenarios.window import Window, latency_figures, watch
from loadtest.source import Media

if TYPE_CHECKING:
    from loadtest.api import RemoteTrack
    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench, Target

IDLE_S: Final = 2.0  # before the arrivals: what media alone costs


@dataclass(frozen=True, slots=True)
class Connect:
    """Options: `rate` arrivals per second for `seconds`, each of which stays `stay_s`; `subscribers` receive
    video of `packets_per_s` all the time."""

    rate: float = 50
    seconds: float = 6.0
    stay_s: float = 2.0
    subscribers: int = 10
    packets_per_s: float = 250
    rounds: int = 3


@dataclass(frozen=True, slots=True)
class Round:
    """One stretch of arrivals: connect times in ms, in their order, and what it cost."""

    times_ms: list[float]
    cpu_ms: float
    window: Window
    failures: Counter[str]


async def run(bench: Bench, options: Connect, tell: Tell) -> Measurement:
    """All rounds against one server. Raises ConnectFailed, ApiError, ServerFailed."""
    rounds: list[Round] = []
    async with bench.target() as target, Crowd(target.server, connections=256) as crowd:
        media = Media.video(packets_per_s=options.packets_per_s)
        _, [source] = await publish(crowd, [media])
        await fill(crowd, [source.track], options.subscribers, lambda _: None)
        for number in range(options.rounds):
            tell("round", number, options.rounds)
            rounds.append(await _round(target, crowd, source.track, options))
        tell("round", options.rounds, options.rounds)
    reasons = sum((r.failures for r in rounds), Counter[str]())
    return Measurement(
        "connect",
        "Arrivals",
        {
            "arrivals per second": options.rate,
            "seconds per round": options.seconds,
            "each stays s": options.stay_s,
            "subscribers all the time": options.subscribers,
            "their packets per second": options.packets_per_s,
        },
        (
            *(
                Figure(
                    f"first call to connected, {name}",
                    "ms",
                    tuple(_percentile(r.times_ms, p) for r in rounds),
                )
                for name, p in (("median", 50), ("95 %", 95), ("99 %", 99), ("longest", 100))
            ),
            Figure("CPU per set-up and leaving", "ms", tuple(r.cpu_ms for r in rounds)),
            Figure("failed", "", tuple(float(r.failures.total()) for r in rounds)),
            Figure("server's core busy", "%", tuple(100 * r.window.cpu_s / r.window.seconds for r in rounds)),
            *latency_figures("media meanwhile: ", [r.window for r in rounds]),
        ),
        (
            "From a client's first HTTP call to its SRTP keys, as a client saw it; all share one core, "
            "whose own delays are part of it. CPU is the server's, less what media alone took in the seconds "
            "before, over the set-ups.",
            *(f"Failed {count} times: {reason}." for reason, count in reasons.most_common(5)),
        ),
        (
            Series(
                "First call to connected",
                "ms",
                "% connected",
                tuple(
                    (time_ms, 100 * (place + 1) / len(rounds[-1].times_ms))
                    for place, time_ms in enumerate(sorted(rounds[-1].times_ms))
                ),
            ),
        ),
    )


async def _round(target: Target, crowd: Crowd, track: RemoteTrack, options: Connect) -> Round:
    idle = await watch(target, crowd, IDLE_S)
    times_ms: list[float] = []
    failures: Counter[str] = Counter()

    async def arrive() -> None:
        began = crowd.now()
        try:
            peer = await subscribe(crowd, [track])
        except (ConnectFailed, ApiError, httpx.TransportError) as error:
            failures[type(error).__name__] += 1
            return
        times_ms.append(1000 * (crowd.now() - began))
        await asyncio.sleep(options.stay_s)
        peer.close()

    async def arrivals() -> None:
        count = max(1, round(options.rate * options.seconds))
        began = crowd.now()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                await asyncio.sleep(max(0.0, began + number / options.rate - crowd.now()))
                group.create_task(arrive())

    under_way = asyncio.ensure_future(arrivals())
    window = await watch(target, crowd, options.seconds + options.stay_s)
    await under_way
    cpu_s = window.cpu_s - idle.cpu_s * window.seconds / idle.seconds
    return Round(times_ms, 1000 * cpu_s / max(1, len(times_ms)), window, failures)


def _percentile(values: list[float], percent: float) -> float:
    """The value that `percent` of them do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
