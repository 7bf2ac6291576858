"""Loss and its repair: what subscribers miss when links lose packets, and how long they miss it.

The links are the clients' own sockets, which lose by a seed, one per client and round. A publisher's and its
subscribers' links are set apart; loss begins when all are connected and ends before the last packets.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.crowd import Crowd
from loadtest.report import Figure, Measurement, Series
from loadtest.scenarios.crowds import fill, publish
from loadtest.scenarios.window import Window, latency_figures, quiet, repair_figures, watch
from loadtest.source import EVEN_VIDEO, Media

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.client import Peer
    from loadtest.counts import StreamStats
    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench, Target
    from loadtest.source import Source

SETTLE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Loss:
    """Options: shares from 0 to 1 of what leaves (`up`) and arrives (`down`) at each subscriber and of what
    leaves the publisher; `run` is the mean length of a run of losses, 0 for independent ones."""

    down: float = 0.1
    up: float = 0.0
    publisher_up: float = 0.0
    publisher_down: float = 0.0
    run: float = 0.0
    subscribers: int = 20
    rounds: int = 3
    window_s: float = 8.0
    media: Media = EVEN_VIDEO
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Round:
    """What became of a round's packets, all subscribers together. `sent` by the publisher while links lost
    packets, which makes `expected` for all; `missed` never came, of all packets of the round."""

    window: Window
    sent: int
    expected: int
    missed: int
    noticed: int
    repaired: int
    gave_up: int
    duplicates: int
    asked_of_publisher: int


async def run(bench: Bench, options: Loss, tell: Tell) -> Measurement:
    """All rounds against one server. Raises ConnectFailed, ApiError, ServerFailed."""
    async with bench.target() as target, Crowd(target.server) as crowd:
        publisher, [source] = await publish(crowd, [options.media])
        count = options.subscribers
        peers = await fill(crowd, [source.track], count, lambda done: tell("subscribers", done, count))
        rounds: list[Round] = []
        for number in range(options.rounds):
            tell("round", number, options.rounds)
            rounds.append(await _round(target, crowd, publisher, source, peers, options, number))
        tell("round", options.rounds, options.rounds)
    windows = [r.window for r in rounds]
    figures = [
        Figure(
            "missing when a later one came", "%", _share(rounds, lambda r: r.noticed, lambda r: r.expected)
        ),
        Figure("repaired, of those", "%", _share(rounds, lambda r: r.repaired, lambda r: r.noticed)),
        Figure("lost for good", "%", _share(rounds, lambda r: r.missed, lambda r: r.expected)),
        *repair_figures("", windows),
        Figure("came twice", "%", _share(rounds, lambda r: r.duplicates, lambda r: r.expected)),
        Figure(
            "the publisher was asked for, of what it sent",
            "%",
            _share(rounds, lambda r: r.asked_of_publisher, lambda r: r.sent),
        ),
        Figure("requests per repaired packet", "", _share(rounds, _nacked, lambda r: r.repaired, scale=1)),
        Figure("CPU per delivered packet", "us", tuple(w.cost_us for w in windows)),
        *latency_figures("", windows),
    ]
    return Measurement(
        "loss",
        "Loss and repair",
        {
            "subscribers": options.subscribers,
            "subscribers' links lose down, up %": f"{100 * options.down:g}, {100 * options.up:g}",
            "publisher's link loses up, down %": (
                f"{100 * options.publisher_up:g}, {100 * options.publisher_down:g}"
            ),
            "mean run": options.run or "independent",
            "packets per second": round(options.media.packets_per_s),
            "seconds per round": options.window_s,
            "first seed": options.seed,
        },
        tuple(figures),
        (
            "Each subscriber's link loses other packets, media, requests and repairs alike. A packet is "
            "missing from the moment a later one came; it is asked for 5 ms later. The time from request to "
            "repair is the client's round trip and what the server adds, without the wait for reordering. "
            "One-way latency includes repairs. Lost for good is what never came.",
        ),
        (
            Series("Noticed to repaired", "ms", "% repaired", tuple(windows[-1].repair.curve())),
            Series("One-way latency", "ms", "% delivered", tuple(windows[-1].latency.curve())),
        ),
    )


async def _round(
    target: Target,
    crowd: Crowd,
    publisher: Peer,
    source: Source,
    peers: list[Peer],
    options: Loss,
    number: int,
) -> Round:
    source.stop()
    await quiet(crowd)
    before, streams, sent = crowd.swarm.totals, _sum(peers), source.packets_sent
    publisher.start(source)
    await asyncio.sleep(SETTLE_S)
    seed = options.seed + number * (1 + len(peers))
    publisher.lose(options.publisher_up, options.publisher_down, run=options.run, seed=seed)
    for place, peer in enumerate(peers, 1):
        peer.lose(options.up, options.down, run=options.run, seed=seed + place)
    lossy = source.packets_sent
    window = await watch(target, crowd, options.window_s)
    lossy = source.packets_sent - lossy
    for peer in (publisher, *peers):
        peer.lose(0, 0)
    await asyncio.sleep(SETTLE_S)
    source.stop()
    await quiet(crowd)
    after, now = crowd.swarm.totals, _sum(peers)
    received, noticed, repaired, gave_up, duplicates = (b - a for a, b in zip(streams, now, strict=True))
    wanted = (source.packets_sent - sent) * len(peers)
    return Round(
        window,
        lossy,
        lossy * len(peers),
        wanted - received,
        noticed,
        repaired,
        gave_up,
        duplicates,
        after["asked"] - before["asked"],
    )


def _sum(peers: list[Peer]) -> tuple[int, int, int, int, int]:
    streams: list[StreamStats] = [s for peer in peers for s in peer.streams()]
    return (
        sum(s.received for s in streams),
        sum(s.noticed for s in streams),
        sum(s.repaired for s in streams),
        sum(s.gave_up for s in streams),
        sum(s.duplicates for s in streams),
    )


def _nacked(found: Round) -> int:
    return found.window.counts["nacked"]


def _share(
    rounds: list[Round], part: Callable[[Round], int], whole: Callable[[Round], int], scale: float = 100
) -> tuple[float, ...]:
    return tuple(scale * part(r) / max(1, whole(r)) for r in rounds)
