"""A peer for the light client that is not ours: aiortc behind the calls of `loadtest.api.Api`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, cast

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from loadtest.api import RemoteTrack

if TYPE_CHECKING:
    from collections.abc import Sequence

PICTURE = RemoteTrack("", "picture")


class StandIn:
    """One RTCPeerConnection per session. A pull gets silence, whatever track it names, or a green picture if
    that is `PICTURE`."""

    def __init__(self) -> None:
        self.connections: dict[str, RTCPeerConnection] = {}

    async def new_session(self) -> str:
        session = uuid.uuid4().hex
        self.connections[session] = RTCPeerConnection()
        return session

    async def publish(self, session: str, offer: str, tracks: Sequence[tuple[str, str]]) -> str:
        assert tracks
        connection = self.connections[session]
        # Asked for either role, aiortc takes the client's, which the light client keeps for itself.
        offer = offer.replace("a=setup:actpass", "a=setup:active")
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        return connection.localDescription.sdp

    async def pull(self, session: str, tracks: Sequence[RemoteTrack]) -> str:
        connection = self.connections[session]
        for track in tracks:
            media = VideoStreamTrack() if track == PICTURE else AudioStreamTrack()
            connection.addTransceiver(media, direction="sendonly")
        await connection.setLocalDescription(await connection.createOffer())
        for sender in connection.getSenders():
            # A server is a lite agent, so the client keeps the controlling role even where it answers.
            sender.transport.transport._connection.ice_controlling = False  # pyright: ignore[reportPrivateUsage]
        return connection.localDescription.sdp

    async def answer(self, session: str, answer: str) -> None:
        await self.connections[session].setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def received(self, session: str) -> dict[str, int]:
        """RTP packets that arrived, by kind."""
        counts: dict[str, int] = {}
        for receiver in self.connections[session].getReceivers():
            for stats in cast("dict[str, Any]", await receiver.getStats()).values():
                if stats.type == "inbound-rtp":
                    counts[stats.kind] = stats.packetsReceived
        return counts

    async def close(self) -> None:
        for connection in self.connections.values():
            await connection.close()
