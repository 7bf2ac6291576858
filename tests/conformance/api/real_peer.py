"""A peer that connects: aiortc, for servers elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from av import VideoFrame

from tests.conformance.api.description import Description
from tests.conformance.api.peer import Json, Peer, Transceiver


class _SmallVideo(VideoStreamTrack):
    """Black 160x120, which costs next to nothing to encode."""

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame(width=160, height=120)
        frame.pts, frame.time_base = pts, time_base
        return frame


class _Silence(MediaStreamTrack):
    """A track without a single frame."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    async def recv(self) -> Any:
        await asyncio.Event().wait()


class RealPeer(Peer):
    """An aiortc PeerConnection."""

    def __init__(self) -> None:
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._waiting: list[tuple[Transceiver, RTCRtpTransceiver]] = []
        self._sending: set[str] = set()  # mids whose transceivers have a track, or want none
        self._connected = asyncio.Event()
        self._pc.on("connectionstatechange", self._changed)

    def add(
        self,
        kind: str,
        direction: str = "sendonly",
        *,
        silent: bool = False,
        rids: tuple[str, ...] = (),
    ) -> Transceiver:
        """A new transceiver; aiortc has no simulcast, so `rids` are left out."""
        transceiver = Transceiver(kind, direction, silent, rids)
        if kind == "application":
            self._pc.createDataChannel("conformance")
            return transceiver
        track = _Silence(kind) if silent else AudioStreamTrack() if kind == "audio" else _SmallVideo()
        source = kind if direction == "recvonly" else track
        self._waiting.append((transceiver, self._pc.addTransceiver(source, direction=direction)))
        return transceiver

    async def stop(self, mid: str) -> None:
        """Stop the transceiver of a mid."""
        await next(one for one in self._pc.getTransceivers() if one.mid == mid).stop()

    async def offer(self) -> Json:
        """An offer, as local description."""
        await self._pc.setLocalDescription(await self._pc.createOffer())
        for transceiver, real in self._waiting:
            transceiver.mid = cast("str", real.mid)
            self._sending.add(transceiver.mid)
        self._waiting = []
        return self._local()

    async def accept(self, answer: Json) -> None:
        """Take the answer."""
        await self._pc.setRemoteDescription(_with_candidates(answer))

    async def answer(self, offer: Json) -> Json:
        """Take an offer and answer it; what it asks for is sent."""
        await self._pc.setRemoteDescription(_with_candidates(offer))
        wanted = Description(offer).directions
        for transceiver in self._pc.getTransceivers():
            direction = wanted.get(cast("str", transceiver.mid), "stopped")
            if direction in ("recvonly", "sendrecv") and transceiver.mid not in self._sending:
                self._sending.add(cast("str", transceiver.mid))
                kind = transceiver.kind
                transceiver.sender.replaceTrack(AudioStreamTrack() if kind == "audio" else _SmallVideo())
                transceiver.direction = "sendrecv" if direction == "sendrecv" else "sendonly"
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        return self._local()

    async def connected(self, session: str) -> None:
        """Until the PeerConnection is connected; media follows by itself."""
        del session
        async with asyncio.timeout(15):
            await self._connected.wait()

    async def close(self) -> None:
        """Close the PeerConnection."""
        await self._pc.close()

    def _changed(self) -> None:
        if self._pc.connectionState == "connected":
            self._connected.set()

    def _local(self) -> Json:
        return {"type": self._pc.localDescription.type, "sdp": self._pc.localDescription.sdp}


def _with_candidates(description: Json) -> RTCSessionDescription:
    """The description with its candidates in every section.

    Of sections on one transport aiortc 1.14 takes the candidates of the last alone; in a bundle they
    stand in the first (RFC 9143 7.3.3).
    """
    lines = description["sdp"].split("\r\n")
    candidates = [line for line in lines if line.startswith("a=candidate:")]
    sdp: list[str] = []
    for line in lines:
        if not line.startswith("a=candidate:"):
            sdp.append(line)
        if line.startswith("a=mid:"):
            sdp += candidates
    return RTCSessionDescription(type=description["type"], sdp="\r\n".join(sdp))
