"""Bounds and times of the packet path: what is a setting, and what only tests change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfu.base.settings import ByteSize, Setting

if TYPE_CHECKING:
    from sfu.base.settings import Config

QUEUE = Setting(
    "media.queue",
    int,
    1024,
    minimum=192,
    maximum=65536,
    help="Datagrams of 2 KiB that wait while the media socket is full; then the oldest video goes",
)
CACHE = Setting(
    "media.cache",
    ByteSize,
    ByteSize(256 << 20),
    help="Memory for recent packets, to repair losses from; 2.5 Mbit/s of video take about 640 KiB",
)
CACHE_VIDEO = Setting(
    "media.cache_video",
    float,
    2.0,
    unit="s",
    minimum=0.1,
    maximum=30.0,
    help="How long video packets are kept for repair",
)
CACHE_AUDIO = Setting(
    "media.cache_audio",
    float,
    1.0,
    unit="s",
    minimum=0.1,
    maximum=30.0,
    help="How long audio packets are kept for repair",
)
CACHE_TRACK = Setting(
    "media.cache_track",
    ByteSize,
    ByteSize(8 << 20),
    minimum=65536,
    help="Memory at most for recent packets of one video stream (each simulcast layer is one)",
)
CACHED_START = Setting(
    "media.cached_start",
    float,
    1.0,
    unit="s",
    minimum=0.0,
    maximum=30.0,
    help="A new subscriber starts at a cached keyframe as young as this; 0: it asks for one",
)
MISSING = Setting(
    "media.missing",
    int,
    65_536,
    minimum=1,
    maximum=1_000_000,
    help="Lost packets that publishers are asked for at a time",
)
WAITING = Setting(
    "media.waiting",
    int,
    8_192,
    minimum=1_024,
    maximum=1_000_000,
    help="Packets that wait to be forwarded; beyond, the video that has waited longest is given up",
)
SLICE = Setting(
    "media.slice",
    float,
    0.002,
    unit="s",
    minimum=0.0001,
    maximum=1.0,
    help="How long media is forwarded at a time before anything else has its turn",
)
OVERLOAD = Setting(
    "media.overload",
    float,
    0.25,
    unit="s",
    minimum=0.01,
    maximum=10.0,
    help="Video that waits for so long to be forwarded is given up, to keep up with the rest",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the engine's tables, and its times."""

    peers: int = 20_000
    paths: int = 80_000
    tracks: int = 50_000
    egress: int = 200_000
    sources: int = 200_000
    ssrcs_per_peer: int = 64
    """Unbound SSRCs remembered per peer; the least recently used goes first."""
    paths_per_peer: int = 8
    retired_per_peer: int = 4096
    """SSRCs of ended subscriptions whose last number is remembered, since no number may come twice."""
    control_per_read: int = 128
    """STUN and DTLS datagrams handed up per call of `on_readable`; the rest is dropped and counted."""
    send_queue: int = QUEUE.default
    """Datagrams that wait while the socket is full; then the oldest video goes."""
    stall_s: float = 30.0
    keyframe_gap_s: float = 0.5
    keyframe_tries: int = 6
    keyframe_wait_s: float = 3.0
    """How long a subscription waits for a keyframe that we recognise before it takes any packet."""
    cache: int = CACHE.default
    """Bytes of packets kept for repair, of all sources together."""
    cache_audio: int = 256 << 10
    """Bytes kept of one audio source."""
    cache_video: int = CACHE_TRACK.default
    """Bytes kept of one video source (each simulcast layer is one)."""
    cache_audio_s: float = CACHE_AUDIO.default
    cache_video_s: float = CACHE_VIDEO.default
    start_s: float = CACHED_START.default
    """A new subscriber starts from the cache at a keyframe as young as this; 0: it always asks for one."""
    missing: int = MISSING.default
    """Numbers that publishers are asked for at a time; what is missing beyond is not asked for."""
    waiting: int = WAITING.default
    """Packets that wait to be forwarded; beyond, the video that has waited longest is given up."""
    slice_s: float = SLICE.default
    """How long one call forwards before the loop has its turn."""
    overload_s: float = OVERLOAD.default
    """Video that has waited for so long is given up; its subscribers go on at the next keyframe."""


def limits_of(config: Config) -> Limits:
    """As the settings say."""
    return Limits(
        send_queue=config[QUEUE],
        cache=config[CACHE],
        cache_audio_s=config[CACHE_AUDIO],
        cache_video=config[CACHE_TRACK],
        cache_video_s=config[CACHE_VIDEO],
        start_s=config[CACHED_START],
        missing=config[MISSING],
        waiting=config[WAITING],
        slice_s=config[SLICE],
        overload_s=config[OVERLOAD],
    )
