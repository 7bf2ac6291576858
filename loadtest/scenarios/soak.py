"""Minutes of coming and going on lossy links: does memory grow, does anything get stuck?

A population of subscribers is kept around a size. Every so often one, chosen by a seed, joins, leaves,
subscribes to one more track or gives one up; all links lose packets. Memory is read all the time, and whoever
has received nothing of a running track for a while counts as stuck.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx

from loadtest.api import ApiError
from loadtest.client import ConnectFailed
from loadtest.crowd import Crowd
from loadtest.meter import slope
from loadtest.report import Figure, Measurement, Series
from loadtest.scenarios.churn import Levels, levels, settled
from loadtest.scenarios.crowds import fill, publish, subscribe
from loadtest.scenarios.window import latency_figures, repair_figures, watch
from loadtest.source import Media

if TYPE_CHECKING:
    from loadtest.client import Peer
    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench, Target
    from loadtest.source import Source

TRACKS: Final = 3
STUCK_S: Final = 3.0  # without a packet of a track that flows; more than any repair or keyframe takes
POINTS: Final = 240  # of memory, at most
SETTLE_S: Final = 60.0
LOOK_S: Final = 1.0
CAMERA: Final = Media.video(packets_per_s=100, fps=25)


@dataclass(frozen=True, slots=True)
class Soak:
    """Options: `minutes` with `population` subscribers, `changes` per second, links that lose the share
    `loss` each way."""

    minutes: float = 30.0
    population: int = 30
    changes: float = 5.0
    loss: float = 0.05
    run: float = 2.0
    video: Media = CAMERA
    seed: int = 1


@dataclass
class State:
    """Who is there, and what went wrong."""

    peers: list[Peer] = field(default_factory=list["Peer"])
    done: Counter[str] = field(default_factory=Counter[str])
    failed: Counter[str] = field(default_factory=Counter[str])
    stuck: Counter[str] = field(default_factory=Counter[str])
    memory: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])


async def run(bench: Bench, options: Soak, tell: Tell) -> Measurement:
    """One long stretch against one server. Raises ConnectFailed, ApiError, ServerFailed."""
    state = State()
    async with bench.target() as target, Crowd(target.server) as keeper:
        _, sources = await publish(keeper, [options.video] * TRACKS)
        before = await settled(target, None, SETTLE_S)
        async with Crowd(target.server) as crowd:
            tracks = [source.track for source in sources]
            count = options.population
            state.peers = await fill(crowd, tracks[:1], count, lambda done: tell("joining", done, count))
            for peer in state.peers:
                _spoil(peer, options, state)
            soaking = asyncio.ensure_future(_soak(target, crowd, sources, options, state, tell))
            window = await watch(target, crowd, options.minutes * 60)
            await soaking
            for peer in state.peers:
                _leave(peer)
            state.failed.update(crowd.failures)
        tell("settling", 0, 0)
        after, left = await _back(target, before)
    # The first quarter grows what is allocated once; the slope is of the rest.
    tail = state.memory[len(state.memory) // 4 :]
    grown = 60 * slope(tail) if len(tail) > 1 else 0.0
    wrong = [f"{name}: {count}." for name, count in [*state.failed.items(), *state.stuck.items()]]
    return Measurement(
        "soak",
        "Soak",
        {
            "minutes": options.minutes,
            "subscribers": options.population,
            "changes per second": options.changes,
            "links lose % each way": 100 * options.loss,
            "mean run": options.run,
            "seed": options.seed,
        },
        (
            Figure("memory grows by, last three quarters", "KiB/min", (grown / 1024,)),
            Figure("memory at the end of it", "MiB", (state.memory[-1][1] / 2**20,)),
            Figure("memory when all are gone", "MiB", (after.private_bytes / 2**20,)),
            Figure("held by the server when all are gone", "kinds", (float(len(left)),)),
            Figure("stuck for 3 s or more", "", (float(state.stuck.total()),)),
            Figure("failed", "", (float(state.failed.total()),)),
            *(Figure(f"changes: {name}", "", (float(n),)) for name, n in sorted(state.done.items())),
            Figure("noticed missing", "packets", (float(window.counts["noticed"]),)),
            Figure(
                "repaired, of those",
                "%",
                (100 * window.counts["repaired"] / max(1, window.counts["noticed"]),),
            ),
            *repair_figures("", [window]),
            Figure("CPU per delivered packet", "us", (window.cost_us,)),
            *latency_figures("", [window]),
        ),
        (
            "Memory is the server's own. A subscriber is stuck that got nothing of a running track for 3 s.",
            f"Held by the server and not given back at the end: {', '.join(left) or 'nothing'}.",
            *wrong,
        ),
        (
            Series(
                "Memory", "minutes", "MiB", tuple((at / 60, memory / 2**20) for at, memory in state.memory)
            ),
        ),
    )


async def _soak(
    target: Target, crowd: Crowd, sources: list[Source], options: Soak, state: State, tell: Tell
) -> None:
    total_s = options.minutes * 60
    chance = random.Random(options.seed)  # noqa: S311 a seed, so that a run can be made again
    began = crowd.now()
    look_at, point_at = 0.0, 0.0
    heard: dict[tuple[int, int], tuple[int, float]] = {}
    while (at := crowd.now() - began) < total_s:
        if at >= point_at:
            point_at = at + max(LOOK_S, total_s / POINTS)
            state.memory.append((at, float(target.meter.private_bytes())))
        if at >= look_at:
            look_at = at + LOOK_S
            _look(crowd.now(), state, heard)
            tell("seconds", int(at), int(total_s))
        await _change(crowd, sources, options, state, chance)
        await asyncio.sleep(1 / options.changes)


async def _change(
    crowd: Crowd, sources: list[Source], options: Soak, state: State, chance: random.Random
) -> None:
    """One change of what there is; those that failed by themselves are gone already."""
    state.peers = [peer for peer in state.peers if not peer.closed]
    few = len(state.peers) < options.population
    kind = chance.choice(["join", "join", "pull", "drop"] if few else ["leave", "pull", "drop"])
    peer = chance.choice(state.peers) if state.peers else None
    missing = [] if peer is None else [s.track for s in sources if s.track not in peer.tracks]
    try:
        if kind == "join" or peer is None:
            kind = "join"
            state.peers.append(await subscribe(crowd, [chance.choice(sources).track]))
            _spoil(state.peers[-1], options, state)
        elif kind == "leave":
            state.peers.remove(peer)
            _leave(peer)
        elif kind == "pull" and missing:
            await peer.pull([chance.choice(missing)])
        elif kind == "drop" and len(peer.tracks) > 1:
            await peer.drop(chance.choice(peer.tracks))
        else:
            return
    except (ConnectFailed, ApiError, httpx.TransportError) as error:
        state.failed[f"{kind}: {error}"] += 1
    else:
        state.done[kind] += 1


def _leave(peer: Peer) -> None:
    """Say goodbye over a link that loses nothing: a server that hears none has to wait for consent to run
    out, half a minute and more, and what it still holds then would look like a leak."""
    peer.lose(0, 0)
    peer.close()


def _spoil(peer: Peer, options: Soak, state: State) -> None:
    peer.lose(options.loss, options.loss, run=options.run, seed=options.seed + state.done.total())


def _look(now: float, state: State, heard: dict[tuple[int, int], tuple[int, float]]) -> None:
    """Find streams of which nothing came for too long; each is counted once and forgotten."""
    seen: set[tuple[int, int]] = set()
    for peer in state.peers:
        counts = {stats.ssrc: stats.received for stats in peer.streams()}
        for ssrc in peer.ssrcs:
            key, received = (id(peer), ssrc), counts.get(ssrc, 0)
            seen.add(key)
            last, since = heard.get(key, (-1, now))
            if received != last:
                heard[key] = (received, now)
            elif now - since >= STUCK_S:
                state.stuck[f"stuck: session {peer.session}, SSRC {ssrc}, {received} packets"] += 1
                heard[key] = (received, float("inf"))
    for key in heard.keys() - seen:
        del heard[key]


async def _back(target: Target, before: Levels) -> tuple[Levels, list[str]]:
    """Levels once the server is back at `before`, or after the patience with what is not."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_S
    while (held := _held(now := await levels(target), before)) and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_S)
    return now, held


def _held(now: Levels, before: Levels) -> list[str]:
    return [f"{name} {here - there:+g}" for name, (here, there) in sorted(now.beyond(before).items())]
