"""One publisher, many subscribers: what a delivered packet costs the server.

Each round is the floor of the machine, then the same packets through the server; between rounds the
publisher is silent. The server has a core to itself, the clients have the others.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.client import Crowd
from loadtest.floor import floor_us
from loadtest.report import Figure, Measurement
from loadtest.scenarios.crowds import fill, publish
from loadtest.source import Media

if TYPE_CHECKING:
    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench, Target
    from loadtest.source import Source

SETTLE_S = 0.5


@dataclass(frozen=True, slots=True)
class Fanout:
    """Options: `subscribers` is a list of sizes, measured one after the other."""

    subscribers: tuple[int, ...] = (10, 40)
    rounds: int = 5
    window_s: float = 4.0
    packets_per_s: float = 500
    size: int = 1200


@dataclass(frozen=True, slots=True)
class Round:
    """One window: processor time and packets, and the floor just before it."""

    floor_us: float
    cpu_s: float
    seconds: float
    delivered: int
    sent: int
    median_us: int
    p99_us: int

    @property
    def cost_us(self) -> float:
        """CPU microseconds per delivered packet, the share of receiving it included."""
        return self.cpu_s * 1e6 / self.delivered


async def run(bench: Bench, options: Fanout, tell: Tell) -> Measurement:
    """Measure every size in turn. Raises ConnectFailed, ApiError, ServerFailed."""
    figures: list[Figure] = []
    found: dict[int, list[Round]] = {}
    for count in options.subscribers:
        async with bench.target() as target:
            found[count] = await _size(target, count, options, tell)
        figures += _figures(count, found[count])
    if len(found) > 1:
        figures.append(_marginal(found))
    return Measurement(
        "fanout",
        "Fan-out",
        {
            "packets per second": options.packets_per_s,
            "bytes per RTP packet": options.size,
            "seconds per round": options.window_s,
            "SRTP": "AEAD_AES_128_GCM",
        },
        tuple(figures),
        (
            "CPU is the server process's, user and system, over packets that its subscribers opened and "
            "counted; receiving the packet from the publisher is part of it. The floor is one AES-128-GCM"
            " seal by OpenSSL and one sendto per packet, to as many sockets, on the server's core. One-"
            "way latency is from sealing in the publisher to opening in the subscriber, clients' own "
            "delays included.",
        ),
    )


async def _size(target: Target, count: int, options: Fanout, tell: Tell) -> list[Round]:
    async with Crowd(target.server) as crowd:
        media = Media.video(packets_per_s=options.packets_per_s, size=options.size)
        publisher, [source] = await publish(crowd, [media])
        await fill(crowd, [source.track], count, lambda done: tell(f"{count} subscribers", done, count))
        rounds: list[Round] = []
        for number in range(options.rounds):
            tell(f"{count} subscribers, round", number, options.rounds)
            source.stop()
            await asyncio.sleep(SETTLE_S)
            floor = await floor_us(count, target.core, size=options.size)
            publisher.start(source)
            await asyncio.sleep(SETTLE_S)
            rounds.append(await _window(target, crowd, source, floor, options.window_s))
        tell(f"{count} subscribers, round", options.rounds, options.rounds)
        return rounds


async def _window(target: Target, crowd: Crowd, source: Source, floor: float, window_s: float) -> Round:
    crowd.take_latency()
    began, sent, delivered = crowd.now(), source.packets_sent, crowd.swarm.totals["rtp"]
    cpu_s = target.meter.cpu_s()
    await asyncio.sleep(window_s)
    cpu_s = target.meter.cpu_s() - cpu_s
    latency = crowd.take_latency()
    return Round(
        floor,
        cpu_s,
        crowd.now() - began,
        crowd.swarm.totals["rtp"] - delivered,
        source.packets_sent - sent,
        latency.percentile_us(50) or 0,
        latency.percentile_us(99) or 0,
    )


def _figures(count: int, rounds: list[Round]) -> list[Figure]:
    lost = tuple(100 * max(0.0, 1 - r.delivered / (r.sent * count)) for r in rounds)
    return [
        Figure(
            f"{count} subscribers: CPU per delivered packet",
            "us",
            tuple(r.cost_us for r in rounds),
            tuple(r.floor_us for r in rounds),
        ),
        Figure(f"{count} receivers: floor", "us", tuple(r.floor_us for r in rounds)),
        Figure(
            f"{count} subscribers: delivered", "packets/s", tuple(r.delivered / r.seconds for r in rounds)
        ),
        Figure(f"{count} subscribers: not delivered", "%", lost),
        Figure(f"{count} subscribers: one-way latency, median", "us", tuple(r.median_us for r in rounds)),
        Figure(f"{count} subscribers: one-way latency, 99 %", "us", tuple(r.p99_us for r in rounds)),
    ]


def _marginal(found: dict[int, list[Round]]) -> Figure:
    """What one more subscriber costs per packet: receiving is in both sizes, so it falls out."""
    few, many = min(found), max(found)
    pairs = list(zip(found[few], found[many], strict=True))
    return Figure(
        f"{few} to {many} subscribers: CPU per further packet",
        "us",
        tuple((b.cpu_s / b.sent - a.cpu_s / a.sent) * 1e6 / (many - few) for a, b in pairs),
        tuple(b.floor_us for _, b in pairs),
    )
