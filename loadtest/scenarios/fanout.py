"""One publisher, many subscribers: what a delivered packet costs the server.

Each round is the floor of the machine, then the same packets through the server; between rounds the
publisher is silent. The server has a core to itself, the clients have the others.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.crowd import Crowd
from loadtest.floor import Way, by_way, floors_us
from loadtest.report import Figure, Measurement
from loadtest.scenarios.crowds import fill, publish
from loadtest.scenarios.window import Window, latency_figures, quiet, watch
from loadtest.source import Media

if TYPE_CHECKING:
    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench, Target

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
    """One window, the floors just before it, and what became of all that was sent around it."""

    floors_us: dict[Way, float]
    window: Window
    sent_per_s: float
    lost_percent: float


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
            "counted; receiving the packet from the publisher is part of it. The floors are one AES-128-GCM "
            "seal by OpenSSL per packet and its share of a send, to as many sockets, on the server's core: "
            "one sendto each, one sendmmsg per 32, one GSO send per 10 to the same socket. One-way latency "
            "is from sealing in the publisher to opening in the subscriber, clients' own delays included.",
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
            await quiet(crowd)
            floors = await floors_us(count, target.core, size=options.size)
            before, delivered = source.packets_sent, crowd.swarm.totals["rtp"]
            publisher.start(source)
            await asyncio.sleep(SETTLE_S)
            began, window = source.packets_sent, await watch(target, crowd, options.window_s)
            sent_per_s = (source.packets_sent - began) / window.seconds
            source.stop()
            await quiet(crowd)
            wanted = (source.packets_sent - before) * count
            lost = 100 * max(0.0, 1 - (crowd.swarm.totals["rtp"] - delivered) / wanted)
            rounds.append(Round(floors, window, sent_per_s, lost))
        tell(f"{count} subscribers, round", options.rounds, options.rounds)
        return rounds


def _figures(count: int, rounds: list[Round]) -> list[Figure]:
    floors = by_way([r.floors_us for r in rounds])
    windows = [r.window for r in rounds]
    each = f"{count} subscribers: "
    return [
        Figure(f"{each}CPU per delivered packet", "us", tuple(w.cost_us for w in windows), floors),
        *(Figure(f"{count} receivers: floor, {way}", "us", values) for way, values in floors.items()),
        Figure(f"{each}delivered", "packets/s", tuple(w.delivered / w.seconds for w in windows)),
        Figure(f"{each}not delivered", "%", tuple(r.lost_percent for r in rounds)),
        *latency_figures(each, windows),
    ]


def _marginal(found: dict[int, list[Round]]) -> Figure:
    """What one more subscriber costs per packet: receiving is in both sizes, so it falls out."""
    few, many = min(found), max(found)
    pairs = list(zip(found[few], found[many], strict=True))
    return Figure(
        f"{few} to {many} subscribers: CPU per further packet",
        "us",
        tuple((_per_sent_us(b) - _per_sent_us(a)) / (many - few) for a, b in pairs),
        by_way([b.floors_us for _, b in pairs]),
    )


def _per_sent_us(found: Round) -> float:
    """The server's CPU microseconds per packet that the publisher sent."""
    return found.window.cpu_s * 1e6 / (found.sent_per_s * found.window.seconds)
