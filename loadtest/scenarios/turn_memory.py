"""What an allocation weighs in a TURN server's process, and what somebody who has not authenticated does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.allocations import DATAGRAM_WINDOW, STREAM_WINDOW, perform
from loadtest.flows import ALLOCATE, BIND, CHALLENGE, PERMIT
from loadtest.meter import slope
from loadtest.report import Figure, Measurement
from loadtest.scenarios.turn_sides import over

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loadtest.relays import Relay, Relays, Transport
    from loadtest.scenarios.crowds import Tell


@dataclass(frozen=True, slots=True)
class Weighed:
    """Options: allocations are added in `steps` steps of `step`, each with so many permissions and channels;
    then `sources` that have not authenticated, in as many steps. Memory is read `settle_s` after each."""

    rounds: int = 3
    step: int = 500
    steps: int = 4
    sources: int = 5000
    permissions: int = 4
    channels: int = 2
    settle_s: float = 1.5
    transport: Transport = "udp"


@dataclass(frozen=True, slots=True)
class Slopes:
    """Bytes each."""

    allocation: float
    source: float


async def run(servers: Mapping[str, Relays], options: Weighed, tell: Tell) -> Measurement:
    """All rounds, servers in turns. Raises ServerFailed, NotAllocated, ProcessGone."""
    found: dict[str, list[Slopes]] = {name: [] for name in servers}
    order = list(servers)
    # A heap that has grown hides what the next ones take, so each round wants a new process.
    rounds = options.rounds if all(server.fresh for server in servers.values()) else 1
    for number in range(rounds):
        for name in order:
            async with servers[name].relay() as relay:
                found[name].append(
                    await _round(
                        relay, options, lambda d, t, n=number, name=name: tell(f"{name}, round {n + 1}", d, t)
                    )
                )
        order.reverse()
    made = {f"{name}: " if len(servers) > 1 else "": slopes for name, slopes in found.items()}
    return Measurement(
        "turn-memory",
        "Memory of allocations" + (" side by side" if len(made) > 1 else ""),
        {
            "allocations": options.step * options.steps,
            "permissions of each": options.permissions,
            "channels of each": options.channels,
            "sources that have not authenticated": options.sources,
            "over": options.transport.upper(),
            "settled for s": options.settle_s,
        },
        (
            *(
                Figure(f"{label}{name}", "bytes", tuple(values))
                for label, slopes in made.items()
                for name, values in (
                    ("memory per allocation", [s.allocation for s in slopes]),
                    ("memory per source that has not authenticated", [s.source for s in slopes]),
                )
            ),
            *over("memory per allocation", {n: [s.allocation for s in slopes] for n, slopes in made.items()}),
        ),
        (
            "Least-squares slope of the process's own memory over their number; a new process in each round. "
            "What the kernel takes for a socket is not in it. A source is a port from which an Allocate "
            "without credentials came, which was answered.",
        ),
    )


async def _round(relay: Relay, options: Weighed, tell: Callable[[int, int], None]) -> Slopes:
    count = options.step * (options.steps + 1)
    whole = count + options.sources
    window = DATAGRAM_WINDOW if options.transport == "udp" else STREAM_WINDOW
    flows = relay.flows(whole, transport=options.transport, peers=options.permissions)
    plan = [CHALLENGE, ALLOCATE, PERMIT, *(BIND + number for number in range(options.channels))]

    async def grow(steps: Sequence[int], first: int, each: int, times: int) -> float:
        points = [(0.0, float(relay.meter.private_bytes()))]
        for number in range(times):
            at = first + number * each
            await perform(
                flows, steps, lambda done, at=at: tell(at + done, whole), first=at, jobs=each, window=window
            )
            await asyncio.sleep(options.settle_s)
            points.append(((number + 1.0) * each, float(relay.meter.private_bytes())))
        return slope(points)

    try:
        # The first ones load code and fill pools that all share; they are not on the slope.
        await perform(flows, plan, jobs=options.step, window=window)
        await asyncio.sleep(options.settle_s)
        allocation = await grow(plan, options.step, options.step, options.steps)
        source = await grow([CHALLENGE], count, options.sources // options.steps, options.steps)
        return Slopes(allocation, source)
    finally:
        flows.close()
