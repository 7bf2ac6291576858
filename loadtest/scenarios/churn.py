"""Sessions come and go: is everything back to where it was afterwards?

A round opens and closes sessions one after the other, then many at once, then opens sessions that never
connect, and waits until the server has forgotten them. What the server counts of itself (its gauges) and
its descriptors must be back after each round. A heap keeps what it once grew to, so its leak is read from
the second round on: what it grew by, over the sessions that passed.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.crowd import Crowd
from loadtest.report import Figure, Measurement
from loadtest.scenarios.crowds import publish, subscribe
from loadtest.source import Media

if TYPE_CHECKING:
    from loadtest.api import RemoteTrack
    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench, Target

FLOWING: Final = Media.video(packets_per_s=20, size=300)
OPENING: Final = 16  # HTTP calls under way for sessions that never connect
STEADY_S: Final = 1.5  # two looks this far apart must agree; a server may count itself once a second


@dataclass(frozen=True, slots=True)
class Churn:
    """Options: how many sessions of each kind a round sees, and how long the server may take to settle."""

    rounds: int = 2
    in_sequence: int = 2_000
    at_once: int = 300
    unconnected: int = 20_000
    settle_s: float = 90.0

    @property
    def sessions(self) -> int:
        """Sessions of a round."""
        return self.in_sequence + self.at_once + self.unconnected


WARM_UP: Final = Churn(rounds=1, in_sequence=10, at_once=10, unconnected=20)


@dataclass(frozen=True, slots=True)
class Levels:
    """What the server holds at one moment."""

    private_bytes: int
    descriptors: int
    gauges: dict[str, float]

    def apart(self, other: Levels) -> dict[str, tuple[float, float]]:
        """What differs but memory: name -> (here, there)."""
        here = {**self.gauges, "descriptors": float(self.descriptors)}
        there = {**other.gauges, "descriptors": float(other.descriptors)}
        return {
            name: (here[name], there.get(name, 0.0))
            for name in here
            if here[name] != there.get(name, 0.0) and not name.endswith("bytes")
        }

    def beyond(self, other: Levels) -> dict[str, tuple[float, float]]:
        """What there is more of; an idle connection of ours that has ended meanwhile is no loss."""
        return {name: pair for name, pair in self.apart(other).items() if pair[0] > pair[1]}


class NotBack(Exception):
    """Something of the server did not come back within the patience; the text has names and numbers."""


async def run(bench: Bench, options: Churn, tell: Tell) -> Measurement:
    """All rounds against one server. Raises NotBack."""
    async with bench.target() as target, Crowd(target.server) as keeper:
        # One publisher stays all the time: the others pull from it, and an idle server need count nothing.
        _, [source] = await publish(keeper, [FLOWING])
        await keeper.api.close()
        before = await settled(target, None, options.settle_s)
        # What the first sessions load and allocate once is no leak.
        await _round(target, source.track, WARM_UP, "warm-up", tell)
        levels = [await settled(target, before, options.settle_s)]
        peaks: list[int] = []
        for number in range(options.rounds):
            await _round(target, source.track, options, f"round {number + 1}", tell)
            peaks.append(target.meter.private_bytes())
            levels.append(await settled(target, before, options.settle_s))
    after = levels[1:]
    settled_bytes = [level.private_bytes for level in after]
    grown = tuple((b - a) / options.sessions for a, b in itertools.pairwise(settled_bytes))
    figures = [
        Figure("memory before", "MiB", (levels[0].private_bytes / 2**20,)),
        Figure("memory at the end of each round", "MiB", tuple(peak / 2**20 for peak in peaks)),
        Figure(
            "memory when settled after each round",
            "MiB",
            tuple(size / 2**20 for size in settled_bytes),
        ),
        Figure("descriptors before", "", (float(before.descriptors),)),
        Figure("descriptors after each round", "", tuple(float(level.descriptors) for level in after)),
    ]
    if grown:
        figures.append(Figure("growth per session after the first round", "bytes", grown))
    held = ", ".join(f"{name} {value:g}" for name, value in sorted(before.gauges.items()))
    return Measurement(
        "churn",
        "Churn",
        {
            "rounds": options.rounds,
            "in sequence": options.in_sequence,
            "at once": options.at_once,
            "never connected": options.unconnected,
        },
        tuple(figures),
        (
            "Sessions in sequence and at once are subscribers of one video that connect, receive and say "
            "goodbye; every tenth of those that never connect has pushed an offer. One publisher stays.",
            f"Found back after each round, or the run would have ended in an error: {held or 'no gauges'}.",
        ),
    )


async def _round(target: Target, track: RemoteTrack, options: Churn, name: str, tell: Tell) -> None:
    async with Crowd(target.server) as crowd:
        for done in range(options.in_sequence):
            tell(f"{name}, in sequence", done, options.in_sequence)
            (await subscribe(crowd, [track])).close()
        tell(f"{name}, at once", 0, options.at_once)
        for peer in await asyncio.gather(*(subscribe(crowd, [track]) for _ in range(options.at_once))):
            peer.close()
        await _open(crowd, options.unconnected, f"{name}, never connected", tell)


async def _open(crowd: Crowd, count: int, name: str, tell: Tell) -> None:
    """Open sessions that never connect: their checks would begin with the answer, so it is thrown away."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            tell(name, number, count)
            peer = await crowd.peer()
            if number % 10 == 0:
                await peer.offer_only([FLOWING])
            peer.close()

    await asyncio.gather(*(some() for _ in range(OPENING)))


async def settled(target: Target, before: Levels | None, patience_s: float) -> Levels:
    """Levels once they are steady and, but for memory, not beyond `before`. Raises NotBack."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    last = await levels(target)
    while True:
        await asyncio.sleep(STEADY_S)
        now = await levels(target)
        steady = not now.apart(last) and abs(now.private_bytes - last.private_bytes) < 1 << 20
        if steady and (before is None or not now.beyond(before)):
            return now
        if loop.time() > deadline:
            apart = now.apart(last) if before is None else now.beyond(before)
            text = ", ".join(
                f"{name}: {there:g} before, {here:g} now" for name, (here, there) in apart.items()
            )
            raise NotBack(f"after {patience_s:g} s {text or 'memory is not steady'}")
        last = now


async def levels(target: Target) -> Levels:
    """What the server holds now."""
    return Levels(target.meter.private_bytes(), target.meter.descriptors(), await target.gauges())
