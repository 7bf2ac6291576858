"""What one run is made of: the short set of `bench`, the full one of `all`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from loadtest.scenarios import (
    connect,
    fanout,
    floor,
    loss,
    meetings,
    memory,
    overload,
    setup,
    soak,
    turn_allocate,
    turn_memory,
    turn_relay,
)
from loadtest.scenarios.turn_sides import Way
from loadtest.source import Media
from loadtest.trace import CHROMIUM, load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from loadtest.relays import Relays
    from loadtest.report import Measurement
    from loadtest.running import Scenario
    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench

Options = TypeVar("Options")

QUIET_PER_S: Final = 15_000.0  # some 20 % of what coturn carries on one core here


async def _floor(_: Bench, tell: Tell) -> Measurement:
    return await floor.run(floor.FloorOptions(), tell)


def short() -> list[Scenario]:
    """What the budget has limits for; some two minutes."""
    return [
        partial(_with, fanout.run, fanout.Fanout((10, 40), rounds=5, window_s=2.0)),
        partial(_with, loss.run, loss.Loss(rounds=3, window_s=3.0)),
        partial(_with, memory.run, memory.Memory(rounds=2, step=50, steps=3, settle_s=2.0)),
        partial(_with, setup.run, setup.Setup(rounds=3, count=20)),
    ]


def full(long: bool) -> list[Scenario]:
    """Every scenario but those that need a browser or another server."""
    rounds, window_s = (5, 6.0) if long else (3, 3.0)
    sizes = (10, 40, 200, 1000) if long else (10, 40, 200)
    return [
        _floor,
        partial(_with, fanout.run, fanout.Fanout(sizes, rounds, window_s, packets_per_s=100)),
        partial(_with, loss.run, loss.Loss(down=0.1, rounds=rounds, window_s=window_s)),
        partial(
            _with,
            loss.run,
            loss.Loss(
                down=0.1, run=4, rounds=rounds, window_s=window_s, media=Media.recorded(load(CHROMIUM))
            ),
        ),
        partial(_with, loss.run, loss.Loss(down=0.0, publisher_up=0.1, rounds=rounds, window_s=window_s)),
        partial(_with, loss.run, loss.Loss(down=0.1, up=0.1, run=4, rounds=rounds, window_s=window_s)),
        partial(_with, meetings.run, meetings.Meetings(1, 8, rounds, window_s)),
        partial(_with, meetings.run, meetings.Meetings(5, 4, rounds, window_s)),
        partial(_with, connect.run, connect.Connect(rounds=rounds, seconds=window_s)),
        partial(_with, setup.run, setup.Setup(rounds, 20)),
        partial(_with, memory.run, memory.Memory(rounds, 50, 3, 5.0 if long else 2.0)),
        partial(_with, overload.run, overload.Overload(rounds=rounds if long else 1)),
        partial(_with, soak.run, soak.Soak(minutes=3.0 if long else 0.5)),
    ]


def turn_ways(rounds: int) -> list[turn_relay.Paced]:
    """Forms and transports at 50,000 packets a second, and a load that leaves a server time to sleep."""
    ways = (
        Way(),
        Way(form="send"),
        Way(flows=1),
        Way(flows=1, form="send"),
        Way(transport="tcp"),
        Way(transport="tls"),
    )
    return [
        *(turn_relay.Paced(way, rounds=rounds) for way in ways),
        turn_relay.Paced(Way(), QUIET_PER_S, rounds),
    ]


def turn(servers: Mapping[str, Relays], rounds: int) -> list[Scenario]:
    """A TURN server in all ways that data goes, at rest and as clients come and go."""
    return [
        *(partial(_of_relays, turn_relay.run, servers, paced) for paced in turn_ways(rounds)),
        partial(_of_relays, turn_memory.run, servers, turn_memory.Weighed()),
        partial(_of_relays, turn_allocate.run, servers, turn_allocate.Allocate(rounds=rounds)),
    ]


async def _of_relays(
    scenario: Callable[[Mapping[str, Relays], Options, Tell], Awaitable[Measurement]],
    servers: Mapping[str, Relays],
    options: Options,
    _: Bench,
    tell: Tell,
) -> Measurement:
    return await scenario(servers, options, tell)


async def _with(
    scenario: Callable[[Bench, Options, Tell], Awaitable[Measurement]],
    options: Options,
    bench: Bench,
    tell: Tell,
) -> Measurement:
    return await scenario(bench, options, tell)
