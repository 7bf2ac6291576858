"""Allocations come and go at a TURN server: how many a second, what each costs, does memory come back?

Each is a client from a port of its own: an Allocate that is challenged, one with credentials, a Refresh that
ends it.
"""

from __future__ import annotations

import itertools
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from loadtest.allocations import perform
from loadtest.counts import Histogram
from loadtest.flows import ALLOCATE, CHALLENGE, RELEASE
from loadtest.report import Figure, Measurement, Series
from loadtest.scenarios.turn_sides import over

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.flows import Flows
    from loadtest.relays import Relay, Relays, Transport
    from loadtest.scenarios.crowds import Tell

PLAN: Final = (CHALLENGE, ALLOCATE, RELEASE)
WARM: Final = 1000  # allocations before the first round: what is loaded and grows once is no leak


@dataclass(frozen=True, slots=True)
class Allocate:
    """Options: `count` in each round, `at_once` at a time."""

    count: int = 20_000
    at_once: int = 16
    rounds: int = 5
    transport: Transport = "udp"


@dataclass
class Found:
    """One server's rounds."""

    label: str
    relay: Relay
    flows: Flows
    per_s: list[float] = field(default_factory=list[float])
    cost_us: list[float] = field(default_factory=list[float])
    exchanges: list[Histogram] = field(default_factory=list[Histogram])
    memory: list[int] = field(default_factory=list[int])
    sent_again: list[int] = field(default_factory=list[int])


async def run(servers: Mapping[str, Relays], options: Allocate, tell: Tell) -> Measurement:
    """All rounds, servers in turns. Raises ServerFailed, NotAllocated, ProcessGone."""
    async with AsyncExitStack() as stack:
        found: list[Found] = []
        for name, server in servers.items():
            relay = await stack.enter_async_context(server.relay())
            flows = relay.flows(options.at_once, transport=options.transport)
            stack.callback(flows.close)
            label = f"{name}: " if len(servers) > 1 else ""
            found.append(Found(label, relay, flows))
            await perform(flows, PLAN, jobs=WARM, window=options.at_once, passing=True)
            found[-1].memory.append(relay.meter.private_bytes())
        order = list(found)
        for number in range(options.rounds):
            for side in order:
                await _round(side, options, f"{side.label}round {number + 1}", tell)
            order.reverse()
    return Measurement(
        "turn-allocate",
        "Allocations" + (" side by side" if len(found) > 1 else ""),
        {
            "per round": options.count,
            "at once": options.at_once,
            "rounds": options.rounds,
            "over": options.transport.upper(),
        },
        (
            *(figure for side in found for figure in _figures(side, options)),
            *over("CPU per allocation", {side.label: side.cost_us for side in found}),
            *over("allocations", {side.label: side.per_s for side in found}),
        ),
        (
            "An allocation is three requests: one that is challenged, one with credentials, and one that "
            "ends it. The rate is what the server takes of so many clients at once, on a core of their own.",
        ),
        tuple(
            Series(
                f"{side.label}memory",
                "allocations",
                "MiB",
                tuple((number * options.count, size / 2**20) for number, size in enumerate(side.memory)),
            )
            for side in found
        ),
    )


async def _round(side: Found, options: Allocate, name: str, tell: Tell) -> None:
    meter = side.relay.meter
    side.flows.take_exchanges()
    again, cpu_s, began = side.flows.counts()["sent_again"], meter.cpu_s(), time.monotonic()
    await perform(
        side.flows,
        PLAN,
        lambda done: tell(name, done, options.count),
        jobs=options.count,
        window=options.at_once,
        passing=True,
    )
    side.per_s.append(options.count / (time.monotonic() - began))
    side.cost_us.append((meter.cpu_s() - cpu_s) * 1e6 / options.count)
    side.exchanges.append(Histogram(side.flows.take_exchanges()))
    side.memory.append(meter.private_bytes())
    side.sent_again.append(side.flows.counts()["sent_again"] - again)


def _figures(side: Found, options: Allocate) -> list[Figure]:
    figures = [
        Figure(f"{side.label}allocations", "/s", tuple(side.per_s)),
        Figure(f"{side.label}CPU per allocation", "us", tuple(side.cost_us)),
        *(
            Figure(
                f"{side.label}request to answer, {percent} %",
                "us",
                tuple(float(h.percentile_us(percent) or 0) for h in side.exchanges),
            )
            for percent in (50, 99)
        ),
        Figure(f"{side.label}requests sent again", "", tuple(float(count) for count in side.sent_again)),
        Figure(f"{side.label}memory before", "MiB", (side.memory[0] / 2**20,)),
        Figure(
            f"{side.label}memory after each round", "MiB", tuple(size / 2**20 for size in side.memory[1:])
        ),
    ]
    grown = tuple((b - a) / options.count for a, b in itertools.pairwise(side.memory[1:]))
    if grown:
        figures.append(Figure(f"{side.label}growth per allocation after the first round", "bytes", grown))
    return figures
