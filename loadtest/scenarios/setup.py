"""What a set-up costs the server: HTTP calls, ICE, DTLS and all that follows, one by one and in crowds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.crowd import Crowd
from loadtest.report import Figure, Measurement
from loadtest.scenarios.crowds import publish, subscribe
from loadtest.source import Media

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loadtest.client import Peer
    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench, Target

SETTLE_S = 0.5
FLOWING = Media.video(packets_per_s=10, size=300)  # enough to keep the track in force, too little to count


@dataclass(frozen=True, slots=True)
class Setup:
    """Options: set-ups per round of each kind, first one after the other, then all at once."""

    rounds: int = 5
    count: int = 40


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one set-up, mean of a round: server's CPU, and the time that the client waited."""

    cpu_ms: float
    wait_ms: float


async def run(bench: Bench, options: Setup, tell: Tell) -> Measurement:
    """Measure subscribers (pull, answer, connect) and publishers (push, connect)."""
    found: dict[str, list[Cost]] = {}
    async with bench.target() as target, Crowd(target.server) as crowd:
        _, [source] = await publish(crowd, [FLOWING])
        kinds: dict[str, Callable[[], Awaitable[Peer]]] = {
            "subscriber": lambda: subscribe(crowd, [source.track]),
            "publisher": lambda: _publisher(crowd),
        }
        for kind, make in kinds.items():
            await _one_by_one(target, make, options.count)  # whatever the first ones have to load or allocate
            for number in range(options.rounds):
                tell(f"{kind}s, round", number, options.rounds)
                found.setdefault(f"{kind}, one by one", []).append(
                    await _one_by_one(target, make, options.count)
                )
                found.setdefault(f"{kind}, {options.count} at once", []).append(
                    await _at_once(target, make, options.count)
                )
            tell(f"{kind}s, round", options.rounds, options.rounds)
    figures = [
        figure
        for name, costs in found.items()
        for figure in (
            Figure(f"CPU per {name}", "ms", tuple(c.cpu_ms for c in costs)),
            Figure(f"time per {name}", "ms", tuple(c.wait_ms for c in costs)),
        )
    ]
    return Measurement(
        "setup",
        "Set-up",
        {"set-ups per round": options.count},
        tuple(figures),
        (
            "A subscriber is a session, a pull of one video, its answer, ICE and DTLS; a publisher a "
            "session, a push of one video, ICE and DTLS. All of the server's CPU is counted, the HTTP "
            "calls' too. Times are from the first HTTP call to the SRTP keys, as the client saw them.",
        ),
    )


async def _publisher(crowd: Crowd) -> Peer:
    peer = await crowd.peer()
    await peer.publish([FLOWING])
    await peer.connected()
    return peer


async def _one_by_one(target: Target, make: Callable[[], Awaitable[Peer]], count: int) -> Cost:
    loop = asyncio.get_running_loop()
    cpu_s, began = target.meter.cpu_s(), loop.time()
    peers = [await make() for _ in range(count)]
    wait_s = (loop.time() - began) / count
    return await _end(target, peers, cpu_s, wait_s)


async def _at_once(target: Target, make: Callable[[], Awaitable[Peer]], count: int) -> Cost:
    loop = asyncio.get_running_loop()
    waited: list[float] = []

    async def timed() -> Peer:
        began = loop.time()
        peer = await make()
        waited.append(loop.time() - began)
        return peer

    cpu_s = target.meter.cpu_s()
    peers = await asyncio.gather(*(timed() for _ in range(count)))
    return await _end(target, peers, cpu_s, sum(waited) / count)


async def _end(target: Target, peers: list[Peer], cpu_before_s: float, wait_s: float) -> Cost:
    """What the last ones leave to be done belongs to the set-up; letting them go does not."""
    await asyncio.sleep(SETTLE_S)
    cpu_s = target.meter.cpu_s() - cpu_before_s
    for peer in peers:
        peer.close()
    await asyncio.sleep(SETTLE_S)
    return Cost(cpu_s * 1000 / len(peers), wait_s * 1000)
