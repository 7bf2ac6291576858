"""Light clients behind long links: a publisher far away, subscribers near by, and what repairs their losses.

    python -m tests.cluster.repair [--away MS] [--near MS ...] [--loss SHARE] [--seconds N]

prints, for each distance of the subscriber, a JSON object with the time from a loss noticed to its repair.
Distances are one way. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from loadtest.api import RemoteTrack
from tests.browser.peer import eventually
from tests.cluster.lab import SERVER_V4, Lab, LongUplink
from tests.cluster.light import Counts, LightClients
from tests.cluster.link import Conditions
from tests.cluster.world import World


class LightCall:
    """A video from a light client to others. `open` connects them; `close` ends them."""

    def __init__(
        self,
        world: World,
        links: tuple[LongUplink, LongUplink],
        conditions: tuple[Conditions, Conditions],
        publisher: LightClients,
        track: RemoteTrack,
    ) -> None:
        self.publisher_link, self.subscriber_link = links
        self._far, self._near = conditions
        self._world = world
        self._track = track
        self._publisher = publisher
        self._subscribers: list[LightClients] = []

    @classmethod
    async def open(
        cls, lab: Lab, world: World, *, away_s: float, near_s: float, subscribers: int = 1
    ) -> LightCall:
        """Publish from `away_s` and pull from `near_s`, the times that packets take each way."""
        links = (lab.long_uplink(lab.client("publisher")), lab.long_uplink(lab.client("subscriber"), seed=3))
        conditions = Conditions(delay_s=away_s), Conditions(delay_s=near_s)
        for link, condition in zip(links, conditions, strict=True):
            link.set(condition)
        publisher, track = await asyncio.to_thread(LightClients.publish, links[0].client, world.server)
        call = cls(world, links, conditions, publisher, track)
        await call.join(subscribers)
        return call

    async def join(self, subscribers: int) -> Counts:
        """More subscribers, in a process of their own; returns their counts once media flows."""
        more = await asyncio.to_thread(
            LightClients.pull, self.subscriber_link.client, self._world.server, self._track, subscribers
        )
        self._subscribers.append(more)
        return await eventually(
            lambda: asyncio.to_thread(more.counts),
            lambda counts: counts.received >= 100 * subscribers,
            "media flows",
        )

    async def sent(self) -> Counts:
        """The publisher's counts."""
        return await asyncio.to_thread(self._publisher.counts)

    async def received(self) -> Counts:
        """The counts of the first subscribers together."""
        return await asyncio.to_thread(self._subscribers[0].counts)

    def lose(self, *, up: float = 0, down: float = 0) -> None:
        """Lose shares of what the publisher sends, of what the subscribers are sent."""
        self.publisher_link.set(Conditions(delay_s=self._far.delay_s, loss=up), "up")
        self.subscriber_link.set(Conditions(delay_s=self._near.delay_s, loss=down), "down")

    async def noticed(self, by: int, *, deadline_s: float = 60) -> Counts:
        """Wait until the subscribers have missed `by` more packets."""
        start = (await self.received()).noticed
        return await eventually(
            self.received, lambda counts: counts.noticed >= start + by, "losses", deadline_s=deadline_s
        )

    async def whole(self) -> Counts:
        """Wait until nothing is missing any more."""
        return await eventually(self.received, lambda counts: counts.missing == 0, "all has been repaired")

    def close(self) -> None:
        """End all clients."""
        for clients in (self._publisher, *self._subscribers):
            clients.close()


async def measure(away_s: float, near_s: float, loss: float, seconds: float) -> dict[str, object]:
    """One call with losses on the subscriber's link."""
    with Lab() as lab, tempfile.TemporaryDirectory() as folder:
        world = World(lab, Path(folder), SERVER_V4)
        try:
            await world.start()
            call = await LightCall.open(lab, world, away_s=away_s, near_s=near_s)
            try:
                call.lose(down=loss)
                await asyncio.sleep(seconds)
                call.lose()
                received, sent = await call.whole(), await call.sent()
            finally:
                call.close()
        finally:
            await world.close()
    times = received.times
    return {
        "publisher_rtt_ms": away_s * 2000,
        "subscriber_rtt_ms": near_s * 2000,
        "lost": received.noticed,
        "repaired": received.repaired,
        "nacks_to_publisher": sent.totals["asked"],
        "p50_ms": times.p50_ms,
        "p95_ms": times.p95_ms,
        "p99_ms": times.p99_ms,
    }


async def main(away_ms: float, near_ms: list[float], loss: float, seconds: float) -> None:
    """Measure at each distance."""
    for near in near_ms:
        result = await measure(away_ms / 1000, near / 1000, loss, seconds)
        sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="How long a loss lasts.")
    options.add_argument("--away", type=float, default=150, help="publisher to node, ms each way")
    options.add_argument(
        "--near", type=float, nargs="+", default=[5, 10, 20], help="subscriber to node, ms each way"
    )
    options.add_argument("--loss", type=float, default=0.02, help="share of what the subscriber is sent")
    options.add_argument("--seconds", type=float, default=60)
    given = options.parse_args()
    asyncio.run(main(given.away, given.near, given.loss, given.seconds))
