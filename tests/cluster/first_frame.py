"""How long a late subscriber waits for its first frame while the publisher is far away.

    python -m tests.cluster.first_frame [--away MS] [--near MS] [--joins N]

makes a lab, publishes a video from a Chromium whose packets take `away` ms each way, and pulls it into a page
of another one, `near` ms away, over and over: in a new session or over one that exists, soon after the
keyframe of the last join or long after it. It prints a JSON object for each. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
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

PAUSES_S = {"soon": 0.5, "later": 4.0}  # from one join to the next: its keyframe is still at hand, or is not
SPREAD_S = 0.3  # joins come at any moment between two frames


async def new_session(call: Call, world: World, number: int) -> FirstFrame:
    """Make a session, connect and pull."""
    peer = await BrowserPeer.open(call.subscriber.page, world, f"join{number}")
    frame = await peer.first_frame(call.published)
    await peer.end()
    return frame


async def same_connection(call: Call, _world: World, _number: int) -> FirstFrame:
    """Pull over the connection that the subscriber has, and close the transceiver again."""
    frame = await call.subscriber.first_frame(call.published)
    await call.subscriber.close(frame.mid)
    return frame


JOINS = {"new session": new_session, "same connection": same_connection}


def summary(kind: str, after: str, seen: list[FirstFrame]) -> Item:
    """Medians and spread in milliseconds."""
    shown = [frame.shown_s * 1000 for frame in seen]
    waited = [(frame.shown_s - frame.negotiated_s) * 1000 for frame in seen]
    return {
        "join": kind,
        "after_the_last": after,
        "joins": len(seen),
        "negotiated_ms": round(statistics.median(frame.negotiated_s for frame in seen) * 1000),
        "first_frame_ms": round(statistics.median(shown)),
        "lowest_ms": round(min(shown)),
        "highest_ms": round(max(shown)),
        "after_negotiation_ms": round(statistics.median(waited)),
    }


async def main(away_s: float, near_s: float, joins: int) -> None:
    """Measure all kinds of join."""
    chance = random.Random(1)
    with Lab() as lab, tempfile.TemporaryDirectory() as folder:
        world = World(lab, Path(folder), SERVER_V4)
        try:
            await world.start()
            far, near = Conditions(delay_s=away_s), Conditions(delay_s=near_s)
            call = await Call.open(lab, world, "chromium", near=near, far=far)
            for (kind, join), (after, pause_s) in itertools.product(JOINS.items(), PAUSES_S.items()):
                seen: list[FirstFrame] = []
                for number in range(joins + 1):
                    seen.append(await join(call, world, number))
                    await asyncio.sleep(pause_s + SPREAD_S * chance.random())
                # The first one follows on a pause of another length.
                sys.stdout.write(json.dumps(summary(kind, after, seen[1:])) + "\n")
        finally:
            await world.close()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="How long a late subscriber waits for its first frame.")
    options.add_argument("--away", type=float, default=150, help="publisher to node, ms each way")
    options.add_argument("--near", type=float, default=10, help="subscriber to node, ms each way")
    options.add_argument("--joins", type=int, default=20)
    given = options.parse_args()
    asyncio.run(main(given.away / 1000, given.near / 1000, given.joins))
