"""What a client publishes: synthetic sound and pictures, paced by the event loop."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest import rtcp
from loadtest.description import CLOCK_RATES, Kind, Section
from loadtest.seal import Outgoing

if TYPE_CHECKING:
    from loadtest.api import RemoteTrack
    from loadtest.seal import Endpoint

CATCH_UP_S: Final = 0.1  # a loop that fell behind makes up for this much, and lets the rest go


@dataclass(frozen=True, slots=True)
class Media:
    """What a source sends: `fps` frames a second of `packets` RTP packets of `size` bytes before the tag."""

    kind: Kind
    fps: float
    packets: int
    size: int

    @classmethod
    def video(cls, *, packets_per_s: float = 500, size: int = 1200, fps: float = 50) -> Media:
        """Video of even frames: 500 packets of 1200 bytes a second are 4.8 Mbit/s."""
        fps = min(fps, packets_per_s)
        return cls("video", fps, max(1, round(packets_per_s / fps)), size)

    @classmethod
    def audio(cls, *, size: int = 160) -> Media:
        """Opus-like: 50 packets a second."""
        return cls("audio", 50, 1, size)


class Source:
    """A track that a peer publishes. Nothing is sent until `start`; a keyframe when one is asked for."""

    def __init__(self, track: RemoteTrack, section: Section, media: Media) -> None:
        self._section = section
        self.media = media
        self.track = track
        self.keyframes_asked = 0
        self._outgoing: Outgoing | None = None
        self._timestamp = random.getrandbits(32)
        self._keyframe = True
        self._next_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def ssrc(self) -> int:
        """The SSRC that the offer announced."""
        return self._section.ssrc

    @property
    def packets_sent(self) -> int:
        """RTP packets so far."""
        return 0 if self._outgoing is None else self._outgoing.packets

    def start(self, endpoint: Endpoint) -> None:
        """Send from now on, at the rate of `media`, through a connected peer's endpoint."""
        if self._timer is not None:
            return
        if self._outgoing is None:
            section = self._section
            self._outgoing = Outgoing(
                endpoint,
                section.ssrc,
                section.pt,
                section.kind == "video",
                random.getrandbits(15),  # the upper half is left for a first stretch without a roll-over
                section.mid_extension,
                section.mid.encode(),
            )
        self._next_at = self._loop.time()
        self._tick()

    def stop(self) -> None:
        """Send no more, until started again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def ask_keyframe(self) -> None:
        """The next frame is to be a keyframe."""
        self.keyframes_asked += 1
        self._keyframe = True

    def report(self, wall_now: float) -> bytes | None:
        """A sender report, or None before the first packet."""
        out = self._outgoing
        if out is None or not out.packets:
            return None
        return rtcp.sender_report(out.ssrc, rtcp.ntp(wall_now), out.timestamp, out.packets, out.octets)

    def _tick(self) -> None:
        now = self._loop.time()
        out, media = self._outgoing, self.media
        if out is None:
            return
        step = round(CLOCK_RATES[media.kind] / media.fps)
        self._next_at = max(self._next_at, now - CATCH_UP_S)
        while self._next_at <= now:
            self._timestamp = (self._timestamp + step) & 0xFFFFFFFF
            out.send_frame(self._timestamp, media.packets, media.size, self._keyframe)
            self._keyframe = False
            self._next_at += 1 / media.fps
        self._timer = self._loop.call_at(self._next_at, self._tick)
