"""What a client publishes: synthetic sound and pictures, or video in the shape of a recording."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest import rtcp
from loadtest.description import CLOCK_RATES, Kind, Section
from loadtest.seal import MAX_PACKETS_PER_FRAME, Outgoing

if TYPE_CHECKING:
    from loadtest.api import RemoteTrack
    from loadtest.seal import Endpoint, Trace

TRACE_STEP_S: Final = 0.002  # how often a trace is looked at: its packets leave in the bursts they came in
KEPT_S: Final = 3.0  # of sent packets, to be sent again: Chromium keeps one to three seconds
LEAST_KEPT: Final = 128
MOST_KEPT: Final = 4096
CATCH_UP_S: Final = 0.1  # a loop that fell behind makes up for this much, and lets the rest go


@dataclass(frozen=True, slots=True)
class Media:
    """What a source sends: `fps` frames a second of `packets` RTP packets of `size` bytes before the tag,
    or a recorded trace again and again. `repaired`: what is lost may be asked for again."""

    kind: Kind
    fps: float
    packets: int
    size: int
    repaired: bool = False
    trace: Trace | None = None

    @property
    def packets_per_s(self) -> float:
        """On average."""
        if self.trace is not None:
            return self.trace.count * 1e6 / self.trace.length_us
        return self.fps * self.packets

    @classmethod
    def video(
        cls, *, packets_per_s: float = 500, size: int = 1200, fps: float = 50, repaired: bool = True
    ) -> Media:
        """Video of even frames: 500 packets of 1200 bytes a second are 4.8 Mbit/s. More packets than a
        frame may have make more frames."""
        fps = min(fps, packets_per_s)
        packets = max(1, round(packets_per_s / fps))
        if packets > MAX_PACKETS_PER_FRAME:
            fps, packets = packets_per_s / MAX_PACKETS_PER_FRAME, MAX_PACKETS_PER_FRAME
        return cls("video", fps, packets, size, repaired)

    @classmethod
    def recorded(cls, trace: Trace) -> Media:
        """Video in the shape of a trace."""
        return cls("video", 30, 1, 1200, True, trace)

    @classmethod
    def audio(cls, *, size: int = 160) -> Media:
        """Opus-like: 50 packets a second."""
        return cls("audio", 50, 1, size)


EVEN_VIDEO: Final = Media.video()


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
                rtx_ssrc=section.rtx_ssrc,
                rtx_pt=max(section.rtx_pt, 0),
                kept=self._kept(),
            )
        self._next_at = self._loop.time()
        if self.media.trace is not None:
            self._outgoing.begin(self.media.trace, round(self._next_at * 1e6), self._timestamp)
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

    def _kept(self) -> int:
        """Packets to keep: none where the server may not ask for them."""
        if not self._section.nack:
            return 0
        return min(MOST_KEPT, max(LEAST_KEPT, round(self.media.packets_per_s * KEPT_S)))

    def _tick(self) -> None:
        now = self._loop.time()
        out, media = self._outgoing, self.media
        if out is None:
            return
        if media.trace is not None:
            out.play(round(now * 1e6), self._keyframe)
            self._keyframe = False
            self._timer = self._loop.call_later(TRACE_STEP_S, self._tick)
            return
        step = round(CLOCK_RATES[media.kind] / media.fps)
        self._next_at = max(self._next_at, now - CATCH_UP_S)
        while self._next_at <= now:
            self._timestamp = (self._timestamp + step) & 0xFFFFFFFF
            out.send_frame(self._timestamp, media.packets, media.size, self._keyframe)
            self._keyframe = False
            self._next_at += 1 / media.fps
        self._timer = self._loop.call_at(self._next_at, self._tick)
