"""How long a late subscriber waits for its first frame while the publisher is far away.

    python -m tests.cluster.first_frame [--away MS] [--near MS] [--rounds N]

makes a lab, publishes a video from a Chromium whose packets take `away` ms each way, and pulls it into a page
of another one, `near` ms away. In each round two subscribers join: the first when the last keyframe is long
gone, the second as soon as the first has its frame. They join in new sessions, then over a connection that
exists, and all of that once more at a server whose subscribers never start from its cache. It prints a JSON
object for each kind of join. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path

from tests.browser.peer import BrowserPeer, FirstFrame, Item
from tests.cluster.calls import Call
from tests.cluster.lab import SERVER_V4, Lab
from tests.cluster.link import Conditions
from tests.cluster.world import World

PAUSE_S = 2.5  # between rounds: more than a keyframe stays worth starting from
SPREAD_S = 0.5  # rounds begin at any moment between two frames
SERVERS: dict[str, tuple[str, ...]] = {"on": (), "off": ("--media-cached-start", "0")}


async def rounds_of(
    call: Call, world: World, rounds: int, *, reconnect: bool
) -> list[tuple[FirstFrame, ...]]:
    """Two joins a round, and their end."""
    chance = random.Random(1)
    seen: list[tuple[FirstFrame, ...]] = []
    for number in range(rounds):
        await asyncio.sleep(PAUSE_S + SPREAD_S * chance.random())
        frames: list[FirstFrame] = []
        peers: list[BrowserPeer] = []
        for name in (f"first{number}", f"second{number}"):
            peer = call.subscriber
            if reconnect:
                peer = await BrowserPeer.open(call.subscriber.page, world, name)
                peers.append(peer)
            frames.append(await peer.first_frame(call.published))
        seen.append(tuple(frames))
        for peer in peers:
            await peer.end()
        if not reconnect:
            await call.subscriber.close(*(frame.mid for frame in frames))
    return seen


def summary(kind: str, seen: list[FirstFrame]) -> Item:
    """Medians and spread in milliseconds."""
    shown = [frame.shown_s * 1000 for frame in seen]
    waited = [(frame.shown_s - frame.negotiated_s) * 1000 for frame in seen]
    return {
        "join": kind,
        "joins": len(seen),
        "negotiated_ms": round(statistics.median(frame.negotiated_s for frame in seen) * 1000),
        "first_frame_ms": round(statistics.median(shown)),
        "lowest_ms": round(min(shown)),
        "highest_ms": round(max(shown)),
        "after_negotiation_ms": round(statistics.median(waited)),
    }


async def measure(cached_start: str, far: Conditions, near: Conditions, rounds: int) -> None:
    """Measure all kinds of join at one server."""
    with Lab() as lab, tempfile.TemporaryDirectory() as folder:
        world = World(lab, Path(folder), SERVER_V4)
        try:
            await world.start(*SERVERS[cached_start])
            call = await Call.open(lab, world, "chromium", near=near, far=far)
            for reconnect in (True, False):
                seen = await rounds_of(call, world, rounds, reconnect=reconnect)
                where = "new session" if reconnect else "same connection"
                for when, frames in zip(
                    ("later", "soon after another"), zip(*seen, strict=True), strict=True
                ):
                    result = summary(f"{where}, {when}", list(frames))
                    sys.stdout.write(json.dumps({"start_from_cache": cached_start, **result}) + "\n")
        finally:
            await world.close()


async def main(away_s: float, near_s: float, rounds: int) -> None:
    """Measure both servers."""
    for cached_start in SERVERS:
        await measure(cached_start, Conditions(delay_s=away_s), Conditions(delay_s=near_s), rounds)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="How long a late subscriber waits for its first frame.")
    options.add_argument("--away", type=float, default=150, help="publisher to node, ms each way")
    options.add_argument("--near", type=float, default=10, help="subscriber to node, ms each way")
    options.add_argument("--rounds", type=int, default=10)
    given = options.parse_args()
    asyncio.run(main(given.away / 1000, given.near / 1000, given.rounds))
