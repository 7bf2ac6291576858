"""Thousands of allocations for many minutes, kept by refreshes, with some data: what grows, what is lost?"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from loadtest.allocations import (
    DATAGRAM_WINDOW,
    SETTLE_S,
    STREAM_WINDOW,
    NotAllocated,
    opening,
    perform,
    refreshing,
    to_end,
)
from loadtest.counts import Histogram
from loadtest.flows import RELEASE
from loadtest.meter import slope
from loadtest.report import Figure, Measurement, Series

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.flows import Flows
    from loadtest.relays import Relay, Relays, Transport
    from loadtest.scenarios.crowds import Tell

KEEP_S: Final = 240  # after which each is refreshed: a permission lasts 300 s
POINTS: Final = 240  # of memory, at most
STEP_S: Final = 0.02  # between two sendings: nothing is timed here, so this process may sleep
RELEASED_S: Final = 10.0  # for the server to give back what was released
LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Kept:
    """Options: `count` allocations for `minutes`, which together send `per_s` packets a second."""

    minutes: float = 10.0
    count: int = 5000
    per_s: float = 2500
    transport: Transport = "udp"


@dataclass
class State:
    """What was seen of one server."""

    before: int
    descriptors_before: int
    cpu_s: float = 0.0
    kept_s: float = 0.0
    memory: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    after: int = 0
    descriptors_after: int = 0


async def run(servers: Mapping[str, Relays], options: Kept, tell: Tell) -> Measurement:
    """One server after the other. Raises ServerFailed, NotAllocated, ProcessGone."""
    figures: list[Figure] = []
    series: list[Series] = []
    wrong: list[str] = []
    for name, server in servers.items():
        label = f"{name}: " if len(servers) > 1 else ""
        async with server.relay() as relay:
            flows = relay.flows(options.count, transport=options.transport)
            try:
                state = await _soak(relay, flows, options, label, tell)
                figures += _figures(label, state, flows)
                wrong += [f"{label}{fault}: {count}." for fault, count in flows.faults().items()]
            finally:
                flows.close()
        points = tuple((at / 60, size / 2**20) for at, size in state.memory)
        series.append(Series(f"{label}memory", "minutes", "MiB", points))
    return Measurement(
        "turn-soak",
        "Allocations kept",
        {
            "minutes": options.minutes,
            "allocations": options.count,
            "packets sent per second": options.per_s,
            "over": options.transport.upper(),
            "each refreshed after s": KEEP_S,
        },
        tuple(figures),
        ("A refresh is of the allocation and of its channel. Memory is the process's own.", *wrong),
        tuple(series),
    )


async def _soak(relay: Relay, flows: Flows, options: Kept, label: str, tell: Tell) -> State:
    meter, total_s = relay.meter, options.minutes * 60
    window = DATAGRAM_WINDOW if options.transport == "udp" else STREAM_WINDOW
    state = State(meter.private_bytes(), meter.descriptors())
    await perform(
        flows,
        opening("channel"),
        lambda done: tell(f"{label}allocations", done, options.count),
        window=window,
    )
    flows.take_exchanges()
    loop = asyncio.get_running_loop()
    began, cpu_s, point_at, kept = loop.time(), meter.cpu_s(), 0.0, 0
    while (at := loop.time() - began) < total_s:
        if at >= point_at:
            point_at = at + max(1.0, total_s / POINTS)
            state.memory.append((at, float(meter.private_bytes())))
        tell(f"{label}seconds", int(at), int(total_s))
        # All are refreshed within KEEP_S, some each second; a last second may be a part of one.
        due = min(int((at + 1) * options.count / KEEP_S), kept + options.count) - kept
        first = kept % options.count
        kept += (jobs := min(due, options.count - first))
        if jobs:
            flows.plan(refreshing("channel"), first=first, jobs=jobs, window=window)
        flows.send(options.per_s, seconds=min(1.0, max(STEP_S, total_s - at)), step_s=STEP_S)
        await to_end(flows.run)
        await to_end(flows.work)
    flows.settle(SETTLE_S)
    state.cpu_s, state.kept_s = meter.cpu_s() - cpu_s, loop.time() - began
    state.memory.append((state.kept_s, float(meter.private_bytes())))
    with contextlib.suppress(NotAllocated):  # told among the faults
        await perform(flows, [RELEASE], window=window)
    deadline = loop.time() + RELEASED_S
    while meter.descriptors() > state.descriptors_before and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_S)
    state.after, state.descriptors_after = meter.private_bytes(), meter.descriptors()
    return state


def _figures(label: str, state: State, flows: Flows) -> list[Figure]:
    counts = flows.counts()
    exchanges = Histogram(flows.take_exchanges())
    # The first quarter grows what is allocated once; the slope is of the rest.
    tail = state.memory[len(state.memory) // 4 :]
    grown = 60 * slope(tail) if len(tail) > 1 else 0.0

    def one(name: str, unit: str, value: float) -> Figure:
        return Figure(f"{label}{name}", unit, (value,))

    return [
        one("memory grows by, last three quarters", "KiB/min", grown / 1024),
        one("memory before", "MiB", state.before / 2**20),
        one("memory with all allocations", "MiB", state.memory[0][1] / 2**20),
        one("memory at the end of it", "MiB", state.memory[-1][1] / 2**20),
        one("memory when all are gone", "MiB", state.after / 2**20),
        one("descriptors before", "", float(state.descriptors_before)),
        one("descriptors when all are gone", "", float(state.descriptors_after)),
        one("failed", "", float(sum(flows.faults().values()))),
        one("requests answered", "", float(counts["answered"])),
        one("requests sent again", "", float(counts["sent_again"])),
        *(
            one(f"request to answer, {percent} %", "us", float(exchanges.percentile_us(percent) or 0))
            for percent in (50, 99)
        ),
        one("packets sent", "", float(counts["sent"])),
        one("did not come back", "%", 100 * (1 - counts["returned"] / max(1, counts["sent"]))),
        one("CPU of a core", "%", 100 * state.cpu_s / state.kept_s),
    ]
