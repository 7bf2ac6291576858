"""Meetings: everybody publishes sound and video and receives all others'.

`mesh` is one meeting, `rooms` are many.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.crowd import Crowd
from loadtest.floor import Way, by_way, floors_us
from loadtest.report import Figure, Measurement
from loadtest.scenarios.window import Window, latency_figures, quiet, watch
from loadtest.source import Media

if TYPE_CHECKING:
    from loadtest.client import Peer
    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench, Target
    from loadtest.source import Source

SETTLE_S: Final = 0.5
JOINING: Final = 8  # participants that join at the same time
CAMERA: Final = Media.video(packets_per_s=60, size=1000, fps=20)


@dataclass(frozen=True, slots=True)
class Meetings:
    """Options: `rooms` meetings of `size` participants; `video` is what each camera sends."""

    rooms: int = 1
    size: int = 8
    rounds: int = 3
    window_s: float = 5.0
    video: Media = CAMERA


@dataclass(frozen=True, slots=True)
class Participant:
    """One client and its two sources."""

    peer: Peer
    sources: list[Source]


async def run(bench: Bench, options: Meetings, tell: Tell) -> Measurement:
    """All meetings at once, against one server. Raises ConnectFailed, ApiError, ServerFailed."""
    total = options.rooms * options.size
    async with bench.target() as target, Crowd(target.server) as crowd:
        memory = target.meter.private_bytes()
        began, cpu_s = crowd.now(), target.meter.cpu_s()
        rooms = await _meet(crowd, options, tell)
        join_s, join_cpu_s = crowd.now() - began, target.meter.cpu_s() - cpu_s
        floors: list[dict[Way, float]] = []
        windows: list[Window] = []
        lost: list[float] = []
        for number in range(options.rounds):
            tell("round", number, options.rounds)
            floors.append(await floors_us(options.size, target.core, size=options.video.size))
            found, share = await _round(target, crowd, rooms, options)
            windows.append(found)
            lost.append(share)
        tell("round", options.rounds, options.rounds)
        memory = target.meter.private_bytes() - memory
    return Measurement(
        "mesh" if options.rooms == 1 else "rooms",
        "One meeting" if options.rooms == 1 else "Meetings side by side",
        {
            "meetings": options.rooms,
            "participants each": options.size,
            "video packets per second": round(options.video.packets_per_s),
            "seconds per round": options.window_s,
        },
        (
            Figure("CPU per delivered packet", "us", tuple(w.cost_us for w in windows), by_way(floors)),
            Figure("server's core busy", "%", tuple(100 * w.cpu_s / w.seconds for w in windows)),
            Figure("delivered", "packets/s", tuple(w.delivered / w.seconds for w in windows)),
            Figure("not delivered", "%", tuple(lost)),
            *latency_figures("", windows),
            Figure("time to join, all, per participant", "ms", (1000 * join_s / total,)),
            Figure("CPU to join, per participant", "ms", (1000 * join_cpu_s / total,)),
            Figure("memory per participant", "KiB", (memory / 1024 / total,)),
        ),
        (
            "Every participant is one session that publishes a sound (50 packets a second) and a video and "
            "pulls both of all others in its meeting. Packets are of two sizes and come one by one here, so "
            "the floors, of video's size, are a yardstick and no bound.",
        ),
    )


async def _meet(crowd: Crowd, options: Meetings, tell: Tell) -> list[list[Participant]]:
    total = options.rooms * options.size
    everybody: list[Participant] = []
    while len(everybody) < total:
        tell("publishing", len(everybody), total)
        some = min(JOINING, total - len(everybody))
        everybody += await asyncio.gather(*(_publisher(crowd, options) for _ in range(some)))
    rooms = [everybody[at : at + options.size] for at in range(0, total, options.size)]
    seats = [(me, room) for room in rooms for me in room]
    for done in range(0, total, JOINING):
        tell("pulling", done, total)
        await asyncio.gather(*(_pull(me, room) for me, room in seats[done : done + JOINING]))
    _stop(everybody)
    await quiet(crowd)
    return rooms


async def _publisher(crowd: Crowd, options: Meetings) -> Participant:
    peer = await crowd.peer()
    sources = await peer.publish([Media.audio(), options.video])
    await peer.connected()
    for source in sources:
        peer.start(source)  # a track that has sent nothing can't be pulled
    return Participant(peer, sources)


async def _pull(me: Participant, room: list[Participant]) -> None:
    tracks = [source.track for other in room if other is not me for source in other.sources]
    if tracks:
        await me.peer.pull(tracks)


async def _round(
    target: Target, crowd: Crowd, rooms: list[list[Participant]], options: Meetings
) -> tuple[Window, float]:
    everybody = [participant for room in rooms for participant in room]
    sent = _sent(everybody)
    delivered = crowd.swarm.totals["rtp"]
    for participant in everybody:
        for source in participant.sources:
            participant.peer.start(source)
    await asyncio.sleep(SETTLE_S)
    window = await watch(target, crowd, options.window_s)
    _stop(everybody)
    await quiet(crowd)
    wanted = (_sent(everybody) - sent) * (options.size - 1)
    return window, 100 * max(0.0, 1 - (crowd.swarm.totals["rtp"] - delivered) / max(1, wanted))


def _stop(everybody: list[Participant]) -> None:
    for participant in everybody:
        for source in participant.sources:
            source.stop()


def _sent(everybody: list[Participant]) -> int:
    return sum(source.packets_sent for participant in everybody for source in participant.sources)
