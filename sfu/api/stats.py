"""Statistics of a session, for an app's backend and for who looks after it: an extension of ours.

The fields have the names of the W3C's webrtc-stats where it has them, the media's numbers of this side:
what is received is what the client sends. Numbers count from the start of the session's transport, track
or subscription; times and ages are seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter
from pydantic import AliasPath, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from sfu.api.operations import SESSION_ERRORS, AppPath, SessionPath
from sfu.base.ids import AppId, SessionId

if TYPE_CHECKING:
    from sfu.sessions.service import SessionService

# Beside the published API's paths, which must not get a second meaning from ours.
STATISTICS_PREFIX = "/orchard/v1/apps/{appId}"


class _Statistics(BaseModel):
    """Read from the session layer's values, or as it was itself written by name."""

    model_config = ConfigDict(alias_generator=to_camel, from_attributes=True, populate_by_name=True)


def _field(path: str, description: str) -> Any:
    """A field that is always there, read from the attributes that `path` names."""
    return Field(validation_alias=_alias(path), description=description)


def _known(path: str, description: str) -> Any:
    """A field that is left out while its value is not known."""
    return Field(default=None, validation_alias=_alias(path), description=description)


def _alias(path: str) -> AliasPath:
    first, *others = path.split(".")
    return AliasPath(first, *others)


class TransportStatistics(_Statistics):
    """The session's transport: all of its tracks, RTCP included in what is sent."""

    packets_received: int = _field("packets_in", "RTP packets that passed authentication")
    bytes_received: int = _field("bytes_in", "Their bytes, SRTP's own included")
    packets_sent: int = _field("packets_out", "RTP and RTCP packets")
    bytes_sent: int = _field("bytes_out", "Their bytes, SRTP's own included")
    packets_lost: int = _field("lost", "Packets of the client's that did not arrive, repaired ones included")
    packets_refused: int = _field("refused", "Packets that failed authentication or came twice")
    round_trip_time: float | None = _known("rtt_s", "Latest round trip, from the client's receiver reports")
    repair_round_trip_time: float | None = _known(
        "repair_rtt_s", "From a NACK of the server's to its RTX, smoothed"
    )


class LayerStatistics(_Statistics):
    """One SSRC of a published track: a simulcast layer, or the whole track."""

    rid: str | None = _known("rid", "The layer's rid, where the track has simulcast")
    ssrc: int = _field("ssrc", "The SSRC that the client sends it with")
    packets_received: int = _field("packets", "Packets that arrived")
    bytes_received: int = _field("bytes", "Their bytes")
    packets_lost: int = _field("lost", "Packets that did not arrive, repaired ones included")
    nacks_sent: int = _field("asked", "Sequence numbers that the client was asked for again, each time")
    packets_repaired: int = _field("repaired", "Lost packets that the client sent again, as RTX")
    packets_given_up: int = _field("unrepaired", "Lost packets that it was asked for in vain")
    packets_duplicated: int = _field("doubled", "Packets whose media had come already")
    cached_bytes: int = _field("cache_bytes", "Memory of the recent packets from which losses are repaired")
    jitter: float = _field("jitter_s", "Interarrival jitter (RFC 3550 6.4.1)")
    bitrate: int = _field("bitrate_bps", "Bits that arrived in the last second")
    retransmitted_packets_received: int = _field("rtx_packets", "Packets on its RTX stream, probes included")
    keyframes_received: int = _field("keyframes", "Keyframes that have begun to arrive")
    last_keyframe_age: float | None = _known("keyframe_age_s", "Since the last one began")
    last_packet_age: float | None = _known("silent_s", "Since the last packet")


class PublishedTrackStatistics(_Statistics):
    """A track that the session publishes, as it arrives."""

    mid: str = _field("mid", "Its section")
    track_name: str = _field("track", "Its name")
    kind: Literal["audio", "video"] = _field("kind.value", "Its kind")
    keyframe_requests_sent: int = _field("media.plis_sent", "PLI and FIR that asked the client for one")
    layers: list[LayerStatistics] = _field("media.layers", "What arrives, in order of quality as negotiated")


class PulledTrackStatistics(_Statistics):
    """A track that the session pulls, as it leaves, and what its client reports of it."""

    mid: str = _field("mid", "Its section")
    session_id: str = _field("publisher", "The session that publishes it")
    track_name: str = _field("track", "Its name there")
    kind: Literal["audio", "video"] = _field("kind.value", "Its kind")
    ssrc: int = _field("ssrc", "The SSRC that it is sent with")
    rid: str | None = _known("media.rid", "The simulcast layer that is passed on")
    flowing: bool = _field("media.flowing", "Whether packets pass: not waiting for the client or a keyframe")
    packets_sent: int = _field("media.packets", "Packets sent")
    bytes_sent: int = _field("media.bytes", "Their bytes")
    bitrate: int = _field("media.bitrate_bps", "Bits sent in the last second")
    packets_lost: int = _field("media.lost", "Packets that its client has not got, as it reports")
    fraction_lost: float = _field("media.fraction_lost", "Part of them in its last interval, 0 to 1")
    jitter: float = _field("media.jitter_s", "Interarrival jitter at the client")
    round_trip_time: float | None = _known("media.rtt_s", "Latest round trip, from its reports")
    nacks_received: int = _field("media.nacks", "Sequence numbers that its client asked for again")
    nacks_missed: int = _field("media.nacks_missed", "Of these, numbers that the node did not hold")
    nacks_refused: int = _field("media.nacks_refused", "Of these, numbers asked for too soon or too often")
    retransmitted_packets_sent: int = _field("media.resent", "Packets that the node sent again for them")
    retransmitted_bytes_sent: int = _field("media.resent_bytes", "Their bytes")
    keyframe_requests_received: int = _field("media.plis", "PLI and FIR of its client")


class SessionStatisticsResponse(_Statistics):
    """Statistics of one session; without `transport` its PeerConnection has not come yet."""

    session_id: str = _field("session", "The session")
    state: Literal["new", "connected", "disconnected"] = _field("state", "State of its PeerConnection")
    transport: TransportStatistics | None = _known("media.transport", "Its transport")
    published: list[PublishedTrackStatistics] = Field(
        default=[], validation_alias=_alias("media.published"), description="Tracks that it publishes"
    )
    pulled: list[PulledTrackStatistics] = Field(
        default=[], validation_alias=_alias("media.pulled"), description="Tracks that it pulls"
    )


def add_statistics_operations(router: APIRouter, service: SessionService) -> None:
    """Add the operation to `router`, whose prefix is `STATISTICS_PREFIX`."""

    @router.get(
        "/sessions/{sessionId}/statistics", response_model_exclude_none=True, responses=SESSION_ERRORS
    )
    async def get_session_statistics(app_id: AppPath, session_id: SessionPath) -> SessionStatisticsResponse:
        """What the session's media has done: packets, loss, repair, bitrates. An extension of ours."""
        return SessionStatisticsResponse.model_validate(
            await service.session_statistics(AppId(app_id), SessionId(session_id))
        )
