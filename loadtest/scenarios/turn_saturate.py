"""How many packets a TURN server relays before it begins to lose them, and how many when it is sent far more.

The rate is doubled until packets are lost, then halved in on; what was found is measured once more, and then
twice as much is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from loadtest.allocations import Passage, passage
from loadtest.report import Figure, Measurement
from loadtest.scenarios.turn_sides import Side, Way, over, sides

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.relays import Relays
    from loadtest.scenarios.crowds import Tell

LOST_PERCENT: Final = 0.1  # more is too much
UNSENT: Final = 0.01  # of what should have been sent: with more it was the clients who could not
HALVINGS: Final = 5  # so the rate is found to 3 %
HIGHEST: Final = 5_000_000.0


@dataclass(frozen=True, slots=True)
class Saturated:
    """Options: `probe_s` at each rate, from `first_per_s` on; `window_s` at what was found, and in the flood
    as long."""

    way: Way = field(default_factory=Way)
    first_per_s: float = 20_000
    probe_s: float = 0.7
    window_s: float = 2.0
    rounds: int = 3
    step_s: float = 0.001


@dataclass
class Found:
    """What one server could do in each round."""

    most: list[Passage] = field(default_factory=list[Passage])
    flood: list[Passage] = field(default_factory=list[Passage])
    bounded: list[bool] = field(default_factory=list[bool])  # by the clients


async def run(servers: Mapping[str, Relays], options: Saturated, tell: Tell) -> Measurement:
    """All rounds. Raises ServerFailed, NotAllocated, ProcessGone."""
    async with sides(servers, options.way, tell) as made:
        order, found = list(made), {side.label: Found() for side in made}
        for number in range(options.rounds):
            for side in order:
                await side.refresh()
                await _turn(side, options, found[side.label], f"{side.label}round {number + 1}", tell)
            order.reverse()
    return Measurement(
        "turn-saturate",
        f"Saturation: {options.way.name}" + (", side by side" if len(made) > 1 else ""),
        {
            **options.way.parameters(),
            "ms between sendings": 1000 * options.step_s,
            "seconds per probe": options.probe_s,
            "seconds per window": options.window_s,
        },
        (
            *(figure for side in made for figure in _figures(side.label, found[side.label])),
            *over(
                f"round trips with less than {LOST_PERCENT:g} % lost",
                {n: [p.returned / p.seconds for p in f.most] for n, f in found.items()},
            ),
            *over(
                "round trips in a flood",
                {n: [p.returned / p.seconds for p in f.flood] for n, f in found.items()},
            ),
        ),
        (
            "A round trip is two relayed packets. A flood is twice the rate that was found. Where the "
            "clients could not send more, the server may be able to do more than this tells.",
        ),
    )


async def _turn(side: Side, options: Saturated, found: Found, name: str, tell: Tell) -> None:
    probes = 0

    async def at(per_s: float, seconds: float) -> Passage:
        nonlocal probes
        probes += 1
        tell(f"{name}: {per_s:,.0f} a second", probes, 0)
        return await passage(side.flows, side.relay.meter, per_s, seconds, step_s=options.step_s)

    good, bad = 0.0, options.first_per_s
    probe = await at(bad, options.probe_s)
    while bad < HIGHEST and _is_good(probe, bad):
        good, bad = bad, 2 * bad
        probe = await at(bad, options.probe_s)
    bounded = _is_bounded(probe, bad)
    good = good or bad / 64
    for _ in range(HALVINGS):
        middle = (good + bad) / 2
        probe = await at(middle, options.probe_s)
        if _is_good(probe, middle):
            good = middle
        else:
            bad, bounded = middle, _is_bounded(probe, middle)
    found.most.append(await at(good, options.window_s))
    found.flood.append(await at(min(HIGHEST, 2 * good), options.window_s))
    found.bounded.append(bounded)


def _is_good(probe: Passage, per_s: float) -> bool:
    return probe.lost_percent < LOST_PERCENT and not _is_bounded(probe, per_s)


def _is_bounded(probe: Passage, per_s: float) -> bool:
    return probe.unsent > UNSENT * per_s * probe.seconds


def _figures(label: str, found: Found) -> list[Figure]:
    most, flood = found.most, found.flood
    return [
        Figure(
            f"{label}round trips with less than {LOST_PERCENT:g} % lost",
            "/s",
            tuple(p.returned / p.seconds for p in most),
        ),
        Figure(f"{label}CPU of a core at that rate", "%", tuple(100 * p.cpu_s / p.seconds for p in most)),
        Figure(f"{label}CPU per relayed packet at that rate", "us", tuple(p.cost_us for p in most)),
        Figure(f"{label}did not come back at that rate", "%", tuple(p.lost_percent for p in most)),
        Figure(f"{label}round trips in a flood", "/s", tuple(p.returned / p.seconds for p in flood)),
        Figure(f"{label}CPU per relayed packet in a flood", "us", tuple(p.cost_us for p in flood)),
        Figure(
            f"{label}rounds in which the clients could not send more",
            "",
            (float(sum(found.bounded)),),
        ),
    ]
