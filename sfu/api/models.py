"""The JSON of the API, field by field as published, and its way to and from the negotiation's requests.

Unknown fields are ignored: clients send fields that an operation does not use. Types are strict: "1"
is no number, and a wrongly-cased required field is missing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from sfu.base.ids import SessionId, TrackName
from sfu.negotiation import requests
from sfu.negotiation.record import Kind, Simulcast
from sfu.negotiation.requests import TRACKS_PER_CALL

Location = Literal["local", "remote"]

# However many items a body has room for, no more are looked at than the setting could allow.
MOST_ITEMS = int(TRACKS_PER_CALL.maximum or 0)

LONGEST_RID = 255  # RFC 8852 3.1; it is kept with the subscription


class _Model(BaseModel):
    """What is read has the API's names alone: a field must not have a second name that others don't know."""

    model_config = ConfigDict(alias_generator=to_camel, strict=True, extra="ignore")


class _Answer(_Model):
    model_config = ConfigDict(populate_by_name=True)


class SessionDescription(_Model):
    """An SDP offer or answer, complete with candidates."""

    type: Literal["offer", "answer"]
    sdp: str

    def to_request(self) -> requests.SessionDescription:
        """As the negotiation takes it."""
        return requests.SessionDescription(self.type, self.sdp)

    @classmethod
    def of(cls, description: requests.SessionDescription | None) -> SessionDescription | None:
        """As the API gives it."""
        return None if description is None else cls(type=description.type, sdp=description.sdp)


class ErrorResponse(_Answer):
    """Why a request was refused."""

    error_code: str
    error_description: str
    error_subcode: str | None = None


class SimulcastOptions(_Model):
    """Which layer of a simulcast publication is wanted; an empty `preferredRid` leaves it to the server."""

    preferred_rid: Annotated[str, Field(max_length=LONGEST_RID)] | None = None
    priority_ordering: Literal["none", "asciibetical"] | None = None
    rid_not_available: Literal["none", "asciibetical"] | None = None

    def to_request(self) -> Simulcast:
        """As the negotiation takes it."""
        return Simulcast(
            preferred_rid=self.preferred_rid or "",
            priority_ordering=self.priority_ordering or "none",
            rid_not_available=self.rid_not_available or "none",
        )

    @classmethod
    def of(cls, simulcast: Simulcast | None) -> SimulcastOptions | None:
        """As the API gives it."""
        return (
            None
            if simulcast is None
            else cls.model_validate(
                {
                    "preferredRid": simulcast.preferred_rid,
                    "priorityOrdering": simulcast.priority_ordering,
                    "ridNotAvailable": simulcast.rid_not_available,
                }
            )
        )


class TrackObject(_Model):
    """A track to publish (`local`) or to pull (`remote`).

    `mid` is that of a transceiver of this session; "#name" stands for the one that publishes that name.
    """

    location: Location | None = None
    mid: str | None = None
    session_id: str | None = None
    track_name: str | None = None
    bidirectional_media_stream: bool | None = None
    kind: Literal["audio", "video"] | None = None
    simulcast: SimulcastOptions | None = None

    def to_request(self) -> requests.TrackRequest:
        """As the negotiation takes it."""
        return requests.TrackRequest(
            location=self.location,
            mid=self.mid,
            session=None if self.session_id is None else SessionId(self.session_id),
            track=None if self.track_name is None else TrackName(self.track_name),
            bidirectional=bool(self.bidirectional_media_stream),
            kind=self.kind,
            simulcast=None if self.simulcast is None else self.simulcast.to_request(),
        )


class TrackResult(_Answer):
    """What became of one track of the request; without an `errorCode` it succeeded."""

    location: Location | None = None
    mid: str | None = None
    session_id: str | None = None
    track_name: str | None = None
    bidirectional_media_stream: bool | None = None
    kind: Kind | None = None
    simulcast: SimulcastOptions | None = None
    status: Literal["active", "inactive"] | None = None
    error_code: str | None = None
    error_description: str | None = None
    error_subcode: str | None = None

    @classmethod
    def of(cls, item: requests.TrackItem) -> TrackResult:
        """As the API gives it."""
        error = item.error
        return cls(
            location=item.location,
            mid=item.mid,
            session_id=item.session,
            track_name=item.track,
            bidirectional_media_stream=item.bidirectional,
            kind=item.kind,
            simulcast=SimulcastOptions.of(item.simulcast),
            status=item.status,
            error_code=None if error is None else error.code,
            error_description=None if error is None else error.text,
            error_subcode=None if error is None else error.subcode,
        )


class NewSessionRequest(_Model):
    """The body of sessions/new, which may be absent."""

    session_description: SessionDescription | None = None


class NewSessionResponse(_Answer):
    """A new session, with the answer to the offer if there was one."""

    session_id: str
    session_description: SessionDescription | None = None

    @classmethod
    def of(cls, response: requests.SessionCreated) -> NewSessionResponse:
        """As the API gives it."""
        return cls(session_id=response.id, session_description=SessionDescription.of(response.description))


class TracksRequest(_Model):
    """The body of tracks/new: at most 64 tracks, all `local` or all `remote`.

    With a `sessionDescription` the client offers, without one the SFU does.
    """

    tracks: Annotated[list[TrackObject], Field(fail_fast=True, max_length=MOST_ITEMS)] | None = None
    session_description: SessionDescription | None = None
    auto_discover: bool | None = None

    def to_request(self) -> requests.NewTracks:
        """As the negotiation takes it."""
        return requests.NewTracks(
            tracks=tuple(track.to_request() for track in self.tracks or ()),
            description=None if self.session_description is None else self.session_description.to_request(),
            auto_discover=bool(self.auto_discover),
        )


class TracksResponse(_Answer):
    """The tracks in the order of the request.

    With `requiresImmediateRenegotiation` the `sessionDescription` is an offer: send its answer to
    `/renegotiate` before anything else.
    """

    requires_immediate_renegotiation: bool
    tracks: list[TrackResult]
    session_description: SessionDescription | None = None

    @classmethod
    def of(cls, response: requests.TracksResponse) -> TracksResponse:
        """As the API gives it."""
        return cls(
            requires_immediate_renegotiation=response.renegotiate,
            tracks=[TrackResult.of(item) for item in response.tracks],
            session_description=SessionDescription.of(response.description),
        )


class RenegotiateRequest(_Model):
    """The body of renegotiate: the answer to an offer of the SFU, or an offer that restarts ICE."""

    session_description: SessionDescription

    def to_request(self) -> requests.Renegotiate:
        """As the negotiation takes it."""
        return requests.Renegotiate(self.session_description.to_request())


class RenegotiateResponse(_Answer):
    """Empty, but for the answer to an offer and for the tracks that the client refused."""

    session_description: SessionDescription | None = None
    tracks: list[TrackResult] | None = None

    @classmethod
    def of(cls, response: requests.Renegotiated) -> RenegotiateResponse:
        """As the API gives it."""
        return cls(
            session_description=SessionDescription.of(response.description),
            tracks=[TrackResult.of(item) for item in response.tracks] or None,
        )


class CloseTrackObject(_Model):
    """A transceiver of this session whose tracks are to be closed, both directions."""

    mid: Annotated[str, Field(min_length=1)]


class CloseTracksRequest(_Model):
    """The body of tracks/close: by force without SDP, otherwise with the client's offer."""

    tracks: Annotated[list[CloseTrackObject], Field(fail_fast=True, min_length=1, max_length=MOST_ITEMS)]
    force: bool = False
    session_description: SessionDescription | None = None

    def to_request(self) -> requests.CloseTracks:
        """As the negotiation takes it."""
        return requests.CloseTracks(
            mids=tuple(track.mid for track in self.tracks),
            force=self.force,
            description=None if self.session_description is None else self.session_description.to_request(),
        )


class UpdateTracksRequest(_Model):
    """The body of tracks/update: another source, or another layer, for what is received on a mid."""

    tracks: Annotated[list[TrackObject], Field(fail_fast=True, min_length=1, max_length=MOST_ITEMS)]

    def to_request(self) -> requests.UpdateTracks:
        """As the negotiation takes it."""
        return requests.UpdateTracks(tuple(track.to_request() for track in self.tracks))


class DataChannelState(_Answer):
    """A data channel that a session holds."""

    location: Location
    session_id: str | None = None
    data_channel_name: str
    id: int
    status: Literal["active", "inactive", "initializing"]


class GetSessionStateResponse(_Answer):
    """What a session publishes and pulls; no SDP, no history."""

    tracks: list[TrackResult]
    data_channels: list[DataChannelState]

    @classmethod
    def of(cls, view: requests.SessionView) -> GetSessionStateResponse:
        """As the API gives it."""
        return cls(tracks=[TrackResult.of(item) for item in view.tracks], data_channels=[])


class DeleteSessionResponse(_Answer):
    """Empty: the session is gone."""


class TurnCredentialRequest(_Model):
    """How long a TURN credential is to last, in seconds, and whom it is for."""

    ttl: Annotated[int, Field(ge=1)] | None = None
    custom_identifier: str | None = None


class IceServer(_Answer):
    """One of RTCPeerConnection's `iceServers`."""

    urls: list[str]
    username: str | None = None
    credential: str | None = None


class IceServersResponse(_Answer):
    """STUN and TURN servers in the order in which they are best tried."""

    ice_servers: list[IceServer]


class TurnCredentialResponse(_Answer):
    """The same as one server."""

    ice_servers: IceServer


class HealthResponse(_Answer):
    """The state of this node."""

    status: Literal["ok", "ready"]
