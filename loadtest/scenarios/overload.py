"""More than the server can do: at which rate loss begins, what is lost at half as much again, and how soon
all is well afterwards.

The rate of one video to many subscribers rises in steps until packets are missing. Then 150 % of the last
rate without loss is sent for a while beside a sound, and then a rate that is easy.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.crowd import Crowd
from loadtest.report import Figure, Measurement, Series
from loadtest.scenarios.crowds import fill, publish
from loadtest.scenarios.window import quiet
from loadtest.source import Media

if TYPE_CHECKING:
    from loadtest.client import Peer
    from loadtest.description import Kind
    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench, Target
    from loadtest.source import Source

STEP: Final = 1.25
SLICE_S: Final = 0.1
EASY: Final = 0.5  # of the rate without loss, after the overload
RECOVERED: Final = 0.98  # of what was sent comes in each of the next slices
RECOVERED_SLICES: Final = 3
PATIENCE_S: Final = 15.0
TOO_MUCH: Final = 1.5


@dataclass(frozen=True, slots=True)
class Overload:
    """Options: rates are the publisher's packets per second; `lost` is the share at which loss has begun."""

    subscribers: int = 40
    first_rate: float = 500
    highest_rate: float = 20_000
    step_s: float = 1.5
    overload_s: float = 4.0
    lost: float = 0.01
    rounds: int = 1
    size: int = 1200


@dataclass(frozen=True, slots=True)
class Share:
    """Of one stretch: what was lost of each kind in percent, what was delivered per second, and how busy the
    cores were."""

    video_lost: float
    audio_lost: float
    delivered_per_s: float
    server_busy: float
    clients_busy: float


@dataclass(frozen=True, slots=True)
class Round:
    """`steps`: (rate, what came of it), the last of which is the first with loss, if any was found."""

    steps: list[tuple[float, Share]]
    limit: float
    found: bool
    over: Share
    recovery_s: float


async def run(bench: Bench, options: Overload, tell: Tell) -> Measurement:
    """Each round a new server, where the bench can give one. Raises ConnectFailed, ApiError, ServerFailed."""
    rounds: list[Round] = []
    for number in range(options.rounds):
        async with bench.target() as target, Crowd(target.server) as crowd:
            tell("round", number, options.rounds)
            rounds.append(await _Run(target, crowd, options).run(tell))
    unfound = [] if all(r.found for r in rounds) else [f"No loss up to {options.highest_rate:g} packets/s."]
    last = rounds[-1]
    return Measurement(
        "overload",
        "Overload",
        {
            "subscribers": options.subscribers,
            "bytes per RTP packet": options.size,
            "loss has begun at %": 100 * options.lost,
            "overloaded for s": options.overload_s,
        },
        (
            Figure(
                "delivered without loss", "packets/s", tuple(r.limit * options.subscribers for r in rounds)
            ),
            Figure(
                "delivered without loss",
                "Mbit/s",
                tuple(r.limit * options.subscribers * (options.size + 16 + 28) * 8 / 1e6 for r in rounds),
            ),
            *(
                Figure(f"at 150 %: {name}", unit, tuple(getattr(r.over, attribute) for r in rounds))
                for name, unit, attribute in (
                    ("video not delivered", "%", "video_lost"),
                    ("audio not delivered", "%", "audio_lost"),
                    ("delivered", "packets/s", "delivered_per_s"),
                    ("server's core busy", "%", "server_busy"),
                    ("clients' core busy", "%", "clients_busy"),
                )
            ),
            Figure("all well after the overload", "s", tuple(r.recovery_s for r in rounds)),
        ),
        (
            "Mbit/s are of UDP and IPv4, headers included. Clients and publisher share a core: where it is "
            "the busier one, it is the limit. All is well when in three slices of 100 ms in a "
            "row at least 98 % of what is sent arrive, counted from the end of the overload.",
            *unfound,
        ),
        (
            Series("Video not delivered", "packets/s out", "%", _curve(last, options, "video_lost")),
            Series("Server's core", "packets/s out", "% busy", _curve(last, options, "server_busy")),
            Series("Clients' core", "packets/s out", "% busy", _curve(last, options, "clients_busy")),
        ),
    )


def _curve(found: Round, options: Overload, attribute: str) -> tuple[tuple[float, float], ...]:
    return tuple((rate * options.subscribers, getattr(share, attribute)) for rate, share in found.steps)


class _Run:
    """One search, one overload, one recovery."""

    def __init__(self, target: Target, crowd: Crowd, options: Overload) -> None:
        self._target = target
        self._crowd = crowd
        self._options = options
        self._peers: list[Peer] = []

    async def run(self, tell: Tell) -> Round:
        count = self._options.subscribers
        publisher, [video, audio] = await publish(
            self._crowd, [self._video(self._options.first_rate), Media.audio()]
        )
        tracks = [video.track, audio.track]
        self._peers = await fill(self._crowd, tracks, count, lambda done: tell("subscribers", done, count))
        steps: list[tuple[float, Share]] = []
        rate, limit, found = self._options.first_rate, self._options.first_rate, False
        while not found and rate <= self._options.highest_rate:
            tell(f"{rate * count:,.0f} packets/s", len(steps), 0)
            share = await self._stretch(publisher, video, audio, rate, self._options.step_s)
            steps.append((rate, share))
            found = share.video_lost > 100 * self._options.lost
            if not found:
                limit = rate
                rate *= STEP
        tell("overload", 0, 0)
        over = await self._stretch(
            publisher, video, audio, TOO_MUCH * limit, self._options.overload_s, then=EASY * limit
        )
        recovery_s = await self._recovery(video)
        return Round(steps, limit, found, over, recovery_s)

    def _video(self, rate: float) -> Media:
        return Media.video(packets_per_s=rate, size=self._options.size, fps=100)

    async def _stretch(
        self,
        publisher: Peer,
        video: Source,
        audio: Source,
        rate: float,
        seconds: float,
        then: float | None = None,
    ) -> Share:
        """Send at `rate`; count what became of it when nothing is under way any more. With `then`, go on with
        that rate instead and count at once: what is lost is lost in a queue, or will be."""
        video.media = self._video(rate)
        before, began = self._counts(video, audio), self._crowd.now()
        cpu_s, own_s = self._target.meter.cpu_s(), time.thread_time()
        for source in (video, audio):
            publisher.start(source)
        await asyncio.sleep(seconds)
        took = self._crowd.now() - began
        busy = (self._target.meter.cpu_s() - cpu_s) / took, (time.thread_time() - own_s) / took
        per_s = (sum(self._counts(video, audio)[:2]) - sum(before[:2])) / took
        if then is None:
            for source in (video, audio):
                source.stop()
            await quiet(self._crowd)
        else:
            video.media = self._video(then)
        got_video, got_audio, sent_video, sent_audio = (
            after - earlier for earlier, after in zip(before, self._counts(video, audio), strict=True)
        )
        return Share(
            100 * max(0.0, 1 - got_video / max(1, sent_video * len(self._peers))),
            100 * max(0.0, 1 - got_audio / max(1, sent_audio * len(self._peers))),
            per_s,
            100 * busy[0],
            100 * busy[1],
        )

    async def _recovery(self, video: Source) -> float:
        """Seconds until all is well, or the patience."""
        began = self._crowd.now()
        well = 0
        first_s = 0.0
        while well < RECOVERED_SLICES and self._crowd.now() - began < PATIENCE_S:
            slice_s = self._crowd.now() - began
            sent, got = video.packets_sent, self._received("video")
            await asyncio.sleep(SLICE_S)
            share = (self._received("video") - got) / max(1, (video.packets_sent - sent) * len(self._peers))
            if share < RECOVERED:
                well = 0
            elif (well := well + 1) == 1:
                first_s = slice_s
        return first_s if well == RECOVERED_SLICES else PATIENCE_S

    def _counts(self, video: Source, audio: Source) -> tuple[int, int, int, int]:
        return self._received("video"), self._received("audio"), video.packets_sent, audio.packets_sent

    def _received(self, kind: Kind) -> int:
        return sum(s.received for peer in self._peers for s in peer.streams_of(kind))
