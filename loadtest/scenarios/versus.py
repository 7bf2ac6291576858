"""The same fan-out through two servers, in turns: what a delivered packet costs each of them.

Both run all the time on the same core with as many subscribers; only one is sent packets at a time. A round
is the floors, then one window of each, and the next round begins with the other one.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from loadtest.crowd import Crowd
from loadtest.floor import Way, by_way, floors_us
from loadtest.report import Figure, Measurement
from loadtest.scenarios.crowds import fill, publish
from loadtest.scenarios.window import Window, latency_figures, quiet, watch
from loadtest.source import Media

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from loadtest.client import Peer
    from loadtest.scenarios.crowds import Tell
    from loadtest.scenarios.fanout import Fanout
    from loadtest.server import Target
    from loadtest.source import Source

SETTLE_S: Final = 0.5


@dataclass
class Side:
    """One server with its clients, and its windows so far."""

    target: Target
    crowd: Crowd
    publisher: Peer
    source: Source
    setup_cpu_ms: float
    memory_kib: float
    windows: list[Window] = field(default_factory=list[Window])
    lost: list[float] = field(default_factory=list[float])


async def run(
    servers: Mapping[str, AbstractAsyncContextManager[Target]], options: Fanout, tell: Tell
) -> Measurement:
    """Two servers by name, the first of which is held against the second. Raises ConnectFailed, ApiError,
    ServerFailed."""
    count = max(options.subscribers)
    floors: list[dict[Way, float]] = []
    async with AsyncExitStack() as stack:
        sides: dict[str, Side] = {}
        for name, server in servers.items():
            target = await stack.enter_async_context(server)
            crowd = await stack.enter_async_context(Crowd(target.server))
            sides[name] = await _side(
                target, crowd, options, lambda n, s=name: tell(f"{s}: subscribers", n, count)
            )
        order = list(sides)
        for number in range(options.rounds):
            tell("round", number, options.rounds)
            core = next(iter(sides.values())).target.core
            floors.append(await floors_us(count, core, size=options.size))
            for name in order:
                await _turn(sides[name], count, options.window_s)
            order.reverse()
        tell("round", options.rounds, options.rounds)
    ours, theirs = sides
    return Measurement(
        "versus",
        f"Fan-out beside {theirs}",
        {
            "subscribers": count,
            "packets per second": options.packets_per_s,
            "bytes per RTP packet": options.size,
            "seconds per round": options.window_s,
            "SRTP": "AEAD_AES_128_GCM",
        },
        (
            *(figure for name, side in sides.items() for figure in _figures(name, side, floors)),
            Figure(
                f"CPU per delivered packet, {ours} over {theirs}",
                "x",
                tuple(
                    a.cost_us / b.cost_us
                    for a, b in zip(sides[ours].windows, sides[theirs].windows, strict=True)
                ),
            ),
        ),
        (
            "Both servers have the same core and the same network, one at a time; the order turns with every "
            "round. CPU to set up is of a subscriber with one video; memory is what the process grew by over "
            "their number, the first ones' share of code and pools included.",
        ),
    )


async def _side(target: Target, crowd: Crowd, options: Fanout, tell: Callable[[int], None]) -> Side:
    media = Media.video(packets_per_s=options.packets_per_s, size=options.size)
    count = max(options.subscribers)
    publisher, [source] = await publish(crowd, [media])
    await asyncio.sleep(SETTLE_S)
    source.media = Media.video(packets_per_s=10, size=300)  # enough to keep the track, too little to count
    cpu_s, memory = target.meter.cpu_s(), target.meter.private_bytes()
    await fill(crowd, [source.track], count, tell)
    cpu_s, memory = target.meter.cpu_s() - cpu_s, target.meter.private_bytes() - memory
    source.stop()
    source.media = media
    return Side(target, crowd, publisher, source, 1000 * cpu_s / count, memory / 1024 / count)


async def _turn(side: Side, count: int, window_s: float) -> None:
    before, delivered = side.source.packets_sent, side.crowd.swarm.totals["rtp"]
    side.publisher.start(side.source)
    await asyncio.sleep(SETTLE_S)
    side.windows.append(await watch(side.target, side.crowd, window_s))
    side.source.stop()
    await quiet(side.crowd)
    wanted = (side.source.packets_sent - before) * count
    side.lost.append(100 * max(0.0, 1 - (side.crowd.swarm.totals["rtp"] - delivered) / wanted))


def _figures(name: str, side: Side, floors: list[dict[Way, float]]) -> list[Figure]:
    windows = side.windows
    return [
        Figure(f"{name}: CPU per delivered packet", "us", tuple(w.cost_us for w in windows), by_way(floors)),
        Figure(f"{name}: delivered", "packets/s", tuple(w.delivered / w.seconds for w in windows)),
        Figure(f"{name}: not delivered", "%", tuple(side.lost)),
        *latency_figures(f"{name}: ", windows),
        Figure(f"{name}: CPU to set a subscriber up", "ms", (side.setup_cpu_ms,)),
        Figure(f"{name}: memory per subscriber", "KiB", (side.memory_kib,)),
    ]
