"""Packets at a steady rate through a TURN server to a peer and back: what each costs, and how long it takes.

With two servers both run all the time on the same core, each with as many clients; only one is sent packets
at a time, and the order turns with every round.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadtest.allocations import Passage, passage
from loadtest.report import Figure, Measurement
from loadtest.scenarios.turn_sides import WARM_S, Side, Way, over, sides

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.relays import Relays
    from loadtest.scenarios.crowds import Tell


@dataclass(frozen=True, slots=True)
class Paced:
    """Options: clients together send `per_s` packets a second, every `step_s` what is due."""

    way: Way = field(default_factory=Way)
    per_s: float = 50_000
    rounds: int = 6
    window_s: float = 3.0
    step_s: float = 0.001

    def parameters(self) -> dict[str, float | int | str]:
        """As a report tells them."""
        return {
            **self.way.parameters(),
            "packets sent per second": self.per_s,
            "ms between sendings": 1000 * self.step_s,
            "seconds per round": self.window_s,
        }


async def run(servers: Mapping[str, Relays], options: Paced, tell: Tell) -> Measurement:
    """All rounds. Raises ServerFailed, NotAllocated, ProcessGone."""
    async with sides(servers, options.way, tell) as made:
        order, found = list(made), {side.label: list[Passage]() for side in made}
        for number in range(options.rounds):
            tell("round", number, options.rounds)
            for side in order:
                found[side.label].append(await _turn(side, options))
            order.reverse()
        tell("round", options.rounds, options.rounds)
    return Measurement(
        "turn-relay",
        f"Relayed packets: {options.way.name}" + (", side by side" if len(made) > 1 else ""),
        options.parameters(),
        (
            *(figure for side in made for figure in _figures(side.label, found[side.label])),
            *over("CPU per relayed packet", {n: [p.cost_us for p in ps] for n, ps in found.items()}),
            *over("round trip, 50 %", {n: [_us(p, 50) for p in ps] for n, ps in found.items()}),
            *over("round trip, 99 %", {n: [_us(p, 99) for p in ps] for n, ps in found.items()}),
        ),
        (
            "Each packet goes from a client through the server to a peer, which sends it back the same way: "
            "two relayed packets. Counted are those that arrived. CPU is the server process's, user and "
            "system. Clients and peer are one thread on another core, which does not sleep; a round trip has "
            "its time in it.",
        ),
    )


async def _turn(side: Side, options: Paced) -> Passage:
    await side.refresh()
    meter = side.relay.meter
    await passage(side.flows, meter, options.per_s, WARM_S, step_s=options.step_s)
    return await passage(side.flows, meter, options.per_s, options.window_s, step_s=options.step_s)


def _figures(label: str, rounds: list[Passage]) -> list[Figure]:
    return [
        Figure(f"{label}CPU per relayed packet", "us", tuple(p.cost_us for p in rounds)),
        Figure(f"{label}CPU of a core", "%", tuple(100 * p.cpu_s / p.seconds for p in rounds)),
        Figure(f"{label}relayed", "packets/s", tuple(p.relayed / p.seconds for p in rounds)),
        Figure(f"{label}did not come back", "%", tuple(p.lost_percent for p in rounds)),
        Figure(f"{label}not sent: clients were late", "packets", tuple(float(p.unsent) for p in rounds)),
        *(
            Figure(f"{label}round trip, {percent} %", "us", tuple(_us(p, percent) for p in rounds))
            for percent in (50, 95, 99)
        ),
    ]


def _us(found: Passage, percent: float) -> float:
    return float(found.round_trip.percentile_us(percent) or 0)
