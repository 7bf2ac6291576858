"""A third peer that is no browser: aiortc, over the same HTTP API."""

from __future__ import annotations

import array
import asyncio
import fractions
import math
from typing import Any, Protocol, cast

import av
import httpx
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpTransceiver,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import MediaStreamError

from tests.browser.server import Orchard

SAMPLE_RATE = 48_000
SAMPLES = 960  # 20 ms
WIDTH, HEIGHT, BAR = 320, 180, 20
_GREY = bytes([128]) * (WIDTH * HEIGHT // 4)
_STEP = 2 * math.pi * 440 / SAMPLE_RATE


class Tone(MediaStreamTrack):
    """A 440 Hz tone in 20 ms frames."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._samples = 0
        self._started_at: float | None = None

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        if self._started_at is None:
            self._started_at = loop.time()
        await asyncio.sleep(max(0.0, self._started_at + self._samples / SAMPLE_RATE - loop.time()))
        wave = array.array("h", (int(8000 * math.sin(_STEP * (self._samples + i))) for i in range(SAMPLES)))
        frame = av.AudioFrame(format="s16", layout="mono", samples=SAMPLES)
        frame.planes[0].update(wave.tobytes())
        frame.sample_rate = SAMPLE_RATE
        frame.pts = self._samples
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
        self._samples += SAMPLES
        return frame


class Picture(VideoStreamTrack):
    """A bar that wanders over 320x180 at 30 frames a second."""

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        left = (pts // 3000 * 4) % (WIDTH - BAR)
        row = bytes([60]) * left + bytes([200]) * BAR + bytes([60]) * (WIDTH - BAR - left)
        for plane, data in zip(frame.planes, (row * HEIGHT, _GREY, _GREY), strict=True):
            padded = data.ljust(plane.buffer_size, b"\0")
            plane.update(padded)
        frame.pts, frame.time_base = pts, time_base
        return frame


class _Source(Protocol):
    """A track as far as it is read here: aiortc's own type is only partly known."""

    async def recv(self) -> object: ...


class Sink:
    """Counts what a received track brings."""

    def __init__(self, track: MediaStreamTrack) -> None:
        self.kind = track.kind
        self.frames = 0
        self.energy = 0.0
        self.size = (0, 0)
        self._task = asyncio.create_task(self._take(track))

    async def _take(self, track: MediaStreamTrack) -> None:
        receive = cast("_Source", track).recv
        while True:
            try:
                frame = await receive()
            except MediaStreamError:
                return
            self.frames += 1
            if isinstance(frame, av.AudioFrame):
                self.energy += sum(map(abs, array.array("h", bytes(frame.planes[0]))))
            elif isinstance(frame, av.VideoFrame):
                self.size = (frame.width, frame.height)

    def stop(self) -> None:
        """Count no more."""
        self._task.cancel()


class AiortcPeer:
    """One session and its PeerConnection in aiortc."""

    def __init__(self, client: httpx.AsyncClient, session_id: str) -> None:
        self._client = client
        self.session_id = session_id
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.sinks: dict[str, Sink] = {}

    @classmethod
    async def open(cls, orchard: Orchard) -> AiortcPeer:
        """Make a session; no media yet."""
        client = httpx.AsyncClient(
            base_url=orchard.root, headers={"authorization": f"Bearer {orchard.secret}"}, timeout=30
        )
        answer = await client.post("/sessions/new")
        assert answer.status_code == 201, answer.text
        return cls(client, answer.json()["sessionId"])

    async def _call(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._client.request(method, f"/sessions/{self.session_id}/{path}", json=body)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        assert "errorCode" not in result, result
        return result

    def _local(self) -> dict[str, str]:
        description = self.pc.localDescription
        return {"type": description.type, "sdp": description.sdp}

    async def push(self, *, codec: str) -> None:
        """Publish a tone as "audio" and a picture as "video"."""
        transceivers: list[RTCRtpTransceiver] = []
        for track in (Tone(), Picture()):
            transceiver = self.pc.addTransceiver(track, direction="sendonly")
            transceivers.append(transceiver)
        capabilities = RTCRtpReceiver.getCapabilities("video")
        assert capabilities is not None
        codecs = capabilities.codecs
        wanted = [c for c in codecs if c.mimeType.lower() in (f"video/{codec}".lower(), "video/rtx")]
        transceivers[1].setCodecPreferences(wanted)
        await self.pc.setLocalDescription(await self.pc.createOffer())
        tracks = [
            {"location": "local", "mid": transceiver.mid, "trackName": transceiver.kind}
            for transceiver in transceivers
        ]
        answer = await self._call(
            "POST", "tracks/new", {"sessionDescription": self._local(), "tracks": tracks}
        )
        await self.pc.setRemoteDescription(RTCSessionDescription(**answer["sessionDescription"]))

    async def pull(self, *items: dict[str, Any]) -> list[dict[str, Any]]:
        """Receive by an offer of the server's; what comes is counted in `sinks`, by mid."""
        tracks = [{"location": "remote", **item} for item in items]
        answer = await self._call("POST", "tracks/new", {"tracks": tracks})
        await self.pc.setRemoteDescription(RTCSessionDescription(**answer["sessionDescription"]))
        for transceiver in self.pc.getTransceivers():
            self.sinks[str(transceiver.mid)] = Sink(transceiver.receiver.track)
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        await self._call("PUT", "renegotiate", {"sessionDescription": self._local()})
        return answer["tracks"]

    async def close(self) -> None:
        """Close the PeerConnection and stop counting."""
        for sink in self.sinks.values():
            sink.stop()
        await self.pc.close()
        await self._client.aclose()
