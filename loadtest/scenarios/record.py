"""Record the shape of real video: what Chromium publishes through the server, a light client looks at.

What is kept is what arrived at the subscriber, from the first keyframe on: when, how long, what began and
ended. A keyframe is asked for every few seconds, as newcomers do.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.api import RemoteTrack
from loadtest.crowd import Crowd
from loadtest.report import Conditions, Figure, Measurement
from loadtest.scenarios.browser import browsing
from loadtest.seal import FIRST, KEY, PADDING
from loadtest.trace import from_sights, render

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench

PACKETS_PER_S: Final = 5000  # room for; a camera sends a tenth of it
KEYFRAME_EVERY_S: Final = 4
WARM_UP_S: Final = 6.0  # until the encoder has its rate


@dataclass(frozen=True, slots=True)
class Record:
    """Options: where to, how long, and how wide the picture is (16:9)."""

    path: Path
    seconds: float = 10.0
    width: int = 640


async def run(bench: Bench, options: Record, tell: Tell) -> Measurement:
    """Writes the trace. Raises BrowserFailed, and TraceError if no keyframe came."""
    async with (
        bench.target() as target,
        browsing(target.server, publish=options.width) as posted,
        Crowd(target.server) as crowd,
    ):
        peer = await crowd.peer()
        track = RemoteTrack(posted["session"], posted["video"])
        await peer.pull([track])
        await peer.connected()
        for second in range(round(WARM_UP_S)):
            tell("warming up", second, round(WARM_UP_S))
            await asyncio.sleep(1)
        peer.endpoint.record(round(PACKETS_PER_S * options.seconds))
        for second in range(round(options.seconds)):
            tell("seconds", second, round(options.seconds))
            if second % KEYFRAME_EVERY_S == 0:
                peer.ask_keyframe(track)
            await asyncio.sleep(1)
        sights = peer.endpoint.take_record()
    packets = from_sights(sights)
    height = options.width * 9 // 16
    origin = (
        f"A picture drawn in Chromium, {options.width}x{height} at 30 frames a second, VP8, through the "
        f"server on loopback; {Conditions.here().date}.\nmicroseconds, RTP timestamp, payload bytes, "
        "flags (1 begins, 2 ends a frame, 4 of a keyframe, 8 padding)"
    )
    await asyncio.to_thread(options.path.write_text, render(packets, origin))
    seconds = (packets[-1][0] or 1) / 1e6
    keys = [p for p in packets if p[3] & (FIRST | KEY) == FIRST | KEY]
    return Measurement(
        "record",
        "Trace",
        {"seconds": options.seconds, "width": options.width},
        (
            Figure("packets", "", (float(len(packets)),)),
            Figure("bit rate", "kbit/s", (sum(p[2] for p in packets) * 8 / seconds / 1000,)),
            Figure("keyframes", "", (float(len(keys)),)),
            Figure("packets of padding", "", (float(sum(p[3] == PADDING for p in packets)),)),
        ),
    )
